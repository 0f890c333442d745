import { z } from 'zod';

/** What Step Functions reports of a Lambda (`errorMessage`, with a trace) and of a job (`ErrorMessage`, with the whole job run). */
const wrapped = z.object({
  errorMessage: z.string().optional(),
  ErrorMessage: z.string().optional(),
  JobName: z.string().optional(),
  JobRunState: z.string().optional(),
});

/** What a person needs to read of the name and cause of a state's failure. Step Functions leaves the cause empty if the state timed out. */
export function shortCause(name: string, cause: string): string {
  const { errorMessage, ErrorMessage, JobName, JobRunState } = unwrapped(cause);
  const message = (errorMessage ?? ErrorMessage ?? '').trim();
  if (message !== '') return message;
  if (JobRunState !== undefined) return `job ${JobName ?? ''} ended as ${JobRunState} and left no message`;
  if (cause.trim() !== '') return cause;
  return name === 'States.Timeout' ? 'the state took longer than its timeout' : 'no cause was given';
}

function unwrapped(cause: string): z.infer<typeof wrapped> {
  try {
    return wrapped.safeParse(JSON.parse(cause)).data ?? {};
  } catch {
    return {}; // it is text
  }
}
