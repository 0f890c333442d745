import { messageOf, StageError } from '../../functions/core/errors.ts';
import { codeOf } from '../systemErrors.ts';

/** Which stage is meant; for messages. */
interface StageName {
  name: string;
  region: string;
}

const REFUSED = new Set([
  'ExpiredToken',
  'ExpiredTokenException',
  'InvalidAccessKeyId',
  'InvalidClientTokenId',
  'InvalidSignatureException',
  'SignatureDoesNotMatch',
  'UnrecognizedClientException',
]);
const DENIED = new Set(['AccessDenied', 'AccessDeniedException', 'Forbidden', '403']);
const UNREACHABLE = new Set(['ENOTFOUND', 'ECONNREFUSED', 'ECONNRESET', 'EAI_AGAIN', 'ETIMEDOUT', 'TimeoutError']);

/** Explains an error of AWS to a person: what is wrong and what to do next. Errors that say so themselves stay as they are. */
export function asStageError(error: unknown, { name, region }: StageName): unknown {
  const [kind, code, text] = [error instanceof Error ? error.name : '', codeOf(error), messageOf(error)];
  if (kind === 'CredentialsProviderError' || kind === 'TokenProviderError')
    return new StageError(`No AWS credentials: ${text}. Set AWS_PROFILE, or sign in with "aws sso login" or "aws configure"`);
  if (REFUSED.has(kind))
    return new StageError(`AWS does not accept the credentials (${kind}): sign in again, or set another AWS_PROFILE`);
  if (DENIED.has(kind)) return new StageError(`These credentials may not do this on the stage ${name}: ${text}`);
  if (UNREACHABLE.has(code) || UNREACHABLE.has(kind))
    return new StageError(
      `AWS can't be reached in the region ${region} (${code === '' ? kind : code}): check --region and the network`,
    );
  return error;
}
