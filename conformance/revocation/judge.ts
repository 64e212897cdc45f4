import type { Matrix } from "../matrix.ts";
import { expectation } from "./expectation.ts";
import type { Answer, Question, Tool } from "./tool.ts";

/**
 * Asks `tool` everything that it can answer, and holds each answer against what is expected of it.
 * @param subjectOf - what a question is about in the matrix; where absent, its method
 */
export async function judge(
  matrix: Matrix,
  tool: Tool,
  { questions, subjectOf }: { questions: readonly Question[]; subjectOf?: (question: Question) => string },
): Promise<void> {
  const asked = questions.flatMap((question) => {
    const expected = expectation(tool.name, question.method, question.specimen.condition);
    return expected === undefined ? [] : [{ question, expected }];
  });
  const answers = await tool.answers(asked.map(({ question }) => question)).catch((error: unknown) => {
    // No answer at all: each question fails with the reason.
    return asked.map((): Answer => ({ verdict: "refused", words: String(error) }));
  });
  for (const [index, { question, expected }] of asked.entries()) {
    const { method, specimen } = question;
    const answer = answers[index];
    const subject = subjectOf?.(question);
    const where =
      subject === undefined ? { subject: method, check: specimen.condition } : { subject, check: `${method}: ${specimen.condition}` };
    await matrix.check({ ...where, peer: tool.name }, async () =>
      answer?.verdict === expected.verdict ? undefined : `${answer?.verdict}, expected ${expected.verdict}: ${answer?.words}`,
    );
  }
}
