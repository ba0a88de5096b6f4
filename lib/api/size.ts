import type { ReplicatedVolume } from './generated/replicated-volume.ts';
import { HoldfastError } from './errors.ts';

const SUFFIX_BYTES: Readonly<Record<string, number>> = {
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
};
const SIZE = /^([0-9]+(?:\.[0-9]+)?)(k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$/;

/**
 * Bytes of a size written as a Kubernetes quantity: `64Mi`, `1Gi`, `10G`, `1.5Ti` or plain bytes.
 * @param field where it was written, for the error.
 * @throws HoldfastError HF003 when it is none, isn't a whole number of bytes, or can't be counted exactly.
 */
export function parseSizeBytes(text: string, field = 'size'): number {
  const match = SIZE.exec(text);
  const bytes = match ? Number(match[1]) * (SUFFIX_BYTES[match[2] ?? ''] ?? Number.NaN) : Number.NaN;
  if (Number.isNaN(bytes)) {
    throw new HoldfastError(
      'HF003',
      `${field}: "${text}" is not a size; write a number and one of Ki, Mi, Gi, Ti (powers of 1024) or k, M, G, T (of 1000), for example 64Mi or 10Gi`,
      { field },
    );
  }
  if (!Number.isSafeInteger(bytes)) {
    throw new HoldfastError('HF003', `${field}: "${text}" is not a whole number of bytes below 8Pi`, { field });
  }
  return bytes;
}

const UNITS = ['Pi', 'Ti', 'Gi', 'Mi', 'Ki'] as const;

/** For people, three significant digits with a binary unit: `1Gi`, `1.5Gi`, `64Mi`, `412Ki`, `17` (bytes have no unit). */
export function formatBytes(bytes: number): string {
  for (const unit of UNITS) {
    const scale = SUFFIX_BYTES[unit] ?? 1;
    // Just below the next unit three digits would read "1024Mi": there the larger unit is the right one.
    if (Math.abs(bytes) >= scale * (1 - 0.5 / 1024)) return `${shorten(bytes / scale)}${unit}`;
  }
  return `${Math.round(bytes)}`;
}

function shorten(value: number): string {
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return value.toFixed(digits).replace(/\.?0+$/, digits === 0 ? '$&' : '');
}

/**
 * The size that a volume is to have, in bytes: what is asked for, and never less than what it has. An API server that was restored
 * from a backup of before a growth asks for less.
 */
export function volumeBytes({ spec, status }: Pick<ReplicatedVolume, 'spec' | 'status'>): number {
  return Math.max(spec.capacityBytes, status?.capacityBytes ?? 0);
}
