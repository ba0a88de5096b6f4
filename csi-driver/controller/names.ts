import { createHash } from 'node:crypto';
import { isVolumeName } from '../validation.ts';

/** A name that can be used as it is stays below this, so that the names made from it (replicas, connections) have room. */
const MAX_PLAIN_LENGTH = 90;
const MAX_STEM_LENGTH = 72;

/**
 * The ReplicatedVolume's name for a name from CreateVolume, which may be up to 128 bytes of any text. A name that
 * Kubernetes takes is used as it is (`pvc-<uid>`); another one loses what isn't allowed and gets a hash of the whole,
 * so that different names never become the same volume.
 */
export function volumeNameFor(csiName: string): string {
  if (csiName.length <= MAX_PLAIN_LENGTH && isVolumeName(csiName) && !hashed.test(csiName)) return csiName;
  const stem = csiName
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .slice(0, MAX_STEM_LENGTH)
    .replaceAll(/^-+|-+$/g, '');
  const hash = createHash('sha256').update(csiName).digest('hex').slice(0, 12);
  return `${stem === '' ? 'volume' : stem}-h${hash}`;
}

/** A plain name of the form that hashing gives is hashed too: otherwise it could be chosen to meet another one's. */
const hashed = /-h[0-9a-f]{12}$/;
