import { z } from "zod";

/** The parameters of every list that is told page by page. */
export const page = {
  limit: z
    .string()
    .regex(/^[1-9]\d{0,2}$|^1000$/, "must be a number from 1 to 1000")
    .transform(Number)
    .default(100),
  cursor: z.string().min(1).max(255).optional(),
};
