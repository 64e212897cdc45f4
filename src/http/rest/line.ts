import { z } from "zod";

/** One line of text for those who read of it later: 1 to 500 characters, no control characters. */
export const line = z.string().regex(/^[^\p{Cc}\p{Zl}\p{Zp}]{1,500}$/u, "must be one line of 1 to 500 characters");
