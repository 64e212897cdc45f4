/**
 * How often a test does the same harm: `usual` times in `npm test`, `soak` times in `npm run soak`, which sets SOAK. Tests that use it have
 * T-CRASH, T-PGKILL or T-NET in their titles: by these soaking finds them.
 */
export function rounds(usual: number, soak: number): number {
  return process.env["SOAK"] === undefined ? usual : soak;
}
