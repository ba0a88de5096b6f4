import { createHash } from 'node:crypto';
import { MAX_NAME_LENGTH } from '../../lib/api/names.ts';
import { isVolumeName } from '../validation.ts';

const HASH_DIGITS = 12;
/** The rest of a name is `-h` and the hash. */
const MAX_STEM_LENGTH = MAX_NAME_LENGTH - '-h'.length - HASH_DIGITS;

/**
 * The ReplicatedVolume's name for a name from CreateVolume, which may be up to 128 bytes of any text. A name that
 * Kubernetes takes is used as it is (`pvc-<uid>`); another one loses what isn't allowed and gets a hash of the whole,
 * so that different names never become the same volume.
 */
export function volumeNameFor(csiName: string): string {
  if (isVolumeName(csiName) && !hashed.test(csiName)) return csiName;
  const stem = csiName
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .slice(0, MAX_STEM_LENGTH)
    .replaceAll(/^-+|-+$/g, '');
  const hash = createHash('sha256').update(csiName).digest('hex').slice(0, HASH_DIGITS);
  return `${stem === '' ? 'volume' : stem}-h${hash}`;
}

/** A plain name of the form that hashing gives is hashed too: otherwise it could be chosen to meet another one's. */
const hashed = /-h[0-9a-f]{12}$/;
