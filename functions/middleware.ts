import middy from '@middy/core';

/**
 * What each handler runs in. It leaves the timeout to Lambda, which ends the environment with everything in it; middy itself
 * would answer just before, and what the call had not finished would go on during the next one.
 */
export const middleware = () => middy({ timeoutEarlyInMillis: 0 });
