import middy from '@middy/core';

/**
 * The middleware engine of a handler. It leaves the timeout to Lambda, which ends the environment with everything in it; middy itself
 * would answer just before, and what the call had not finished would go on during the next one.
 */
export const engine = () => middy({ timeoutEarlyInMillis: 0 });
