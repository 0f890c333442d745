import type { DynamoDBClient, ServiceInputTypes, ServiceOutputTypes } from '@aws-sdk/client-dynamodb';

/** What goes wrong on the way to DynamoDB, put into a client where AWS would cause it. */

/** How many of the requests with these commands' names are still to fail. */
interface Trouble {
  left: number;
  met: number;
}

/** The first requests of these commands are answered with an error, inside the SDK's own retries. */
export function failing(client: DynamoDBClient, commands: readonly string[], times: number, error: () => Error): Trouble {
  const trouble: Trouble = { left: times, met: 0 };
  client.middlewareStack.add(
    (next, context) => async (args) => {
      if (trouble.left > 0 && commands.includes(context.commandName ?? '')) {
        trouble.left -= 1;
        trouble.met += 1;
        throw error();
      }
      return next(args);
    },
    { step: 'deserialize', priority: 'low', name: `failing-${Math.random()}` },
  );
  return trouble;
}

/** DynamoDB's answer when there are too many requests. */
export function throttled(): Error {
  return Object.assign(new Error('Throughput exceeds the current capacity of your table'), {
    name: 'ThrottlingException',
    $fault: 'client',
    $metadata: { httpStatusCode: 400 },
  });
}

/** Lets a test intercept requests of a command, and change what is asked or answered. */
export function standingBefore(
  client: DynamoDBClient,
  command: string,
  act: (input: ServiceInputTypes, send: (input: ServiceInputTypes) => Promise<ServiceOutputTypes>) => Promise<ServiceOutputTypes>,
): void {
  client.middlewareStack.add(
    (next, context) => async (args) => {
      if (context.commandName !== command) return next(args);
      let response: unknown;
      const output = await act(args.input, async (input) => {
        const answer = await next({ ...args, input });
        response = answer.response;
        return answer.output;
      });
      return { output, response };
    },
    { step: 'initialize', name: `before-${command}-${Math.random()}` },
  );
}
