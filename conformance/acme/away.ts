import { writeFile } from "node:fs/promises";

/**
 * Writes a program into `file` that takes the token of the service with this process id away: the children that hold it stand still, and those
 * that the service starts in their place too, for as many seconds as the argument says. It writes a line as soon as they do.
 */
export async function writeAwayHook(file: string, processId: number): Promise<void> {
  await writeFile(file, script(processId), { mode: 0o755 });
}

const script = (processId: number): string => `#!/bin/sh
set -eu
hosts() {
  for child in $(cat /proc/${processId}/task/*/children); do
    if tr '\\0' ' ' < /proc/$child/cmdline 2>/dev/null | grep -q 'hsm/host\\.ts'; then echo "$child"; fi
  done
}
signal() {
  for host in $(hosts); do kill "-$1" "$host" 2>/dev/null || true; done
}
trap 'signal CONT' EXIT
[ -n "$(hosts)" ] || { echo "no process holds the token" >&2; exit 1; }
signal STOP
echo away
end=$(($(date +%s) + $1))
while [ "$(date +%s)" -lt "$end" ]; do
  signal STOP
  sleep 0.1
done
`;
