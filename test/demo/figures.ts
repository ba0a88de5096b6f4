/** What `make demo` measures; `build/demo-report.json` is this. */
export interface Figures {
  /** From the start to "control plane and all VMs ready". */
  startupSeconds: number;
  totalSeconds: number;
  /** The longest write while a storage node fell silent. */
  stallMs: number;
  /** legTimeout that the stall is held against. */
  legTimeoutMs: number;
  /** The API server had accepted the smaller in-sync set before the first write was acknowledged without the lost leg. */
  recordedBeforeAck: boolean;
  bytesDirtied: number;
  bytesResynced: number;
  volumeBytes: number;
  bytesHealed: number;
  healSeconds: number;
  failoverSeconds: number;
  acknowledgedWrites: number;
  lostWrites: number;
  /** Throughput through Holdfast's device over that of a hand-made mdadm array on the same legs. */
  mdadmRatio: number;
  rssMiB: { operator: number; csiController: number; clientAgent: number; storageAgent: number };
  accelerator: string;
}

export interface Target {
  readonly name: string;
  readonly measured: string;
  readonly target: string;
  readonly met: boolean;
  /** A busy machine can miss it although nothing is wrong. */
  readonly timing: boolean;
}

const MIB = 1024 * 1024;

/** The figures held against what they should be. */
export function targets(figures: Figures): Target[] {
  const stallLimit = figures.legTimeoutMs + 1500;
  const rss = Object.entries(figures.rssMiB);
  return [
    row(
      'I/O stall, storage node silent',
      `${figures.stallMs} ms`,
      `<= ${stallLimit} ms`,
      figures.stallMs <= stallLimit,
      true,
    ),
    row('record before acknowledge', String(figures.recordedBeforeAck), 'true', figures.recordedBeforeAck),
    row(
      'resync copies what was dirtied',
      `${mib(figures.bytesResynced)} of ${mib(figures.bytesDirtied)}`,
      '<= 1.5 x',
      figures.bytesResynced <= 1.5 * figures.bytesDirtied,
    ),
    row(
      'heal copies the volume once',
      `${mib(figures.bytesHealed)} of ${mib(figures.volumeBytes)}`,
      '0.95 - 1.05 x',
      Math.abs(figures.bytesHealed / figures.volumeBytes - 1) <= 0.05,
    ),
    row(
      'lost acknowledged writes',
      `${figures.lostWrites} of ${figures.acknowledgedWrites}`,
      '0',
      figures.lostWrites === 0,
    ),
    row('throughput against mdadm', figures.mdadmRatio.toFixed(2), '>= 0.95', figures.mdadmRatio >= 0.95, true),
    ...rss.map(([program, value]) =>
      row(`memory of ${program}`, `${value} MiB`, '<= 100 MiB', value > 0 && value <= 100),
    ),
  ];
}

function row(name: string, measured: string, target: string, met: boolean, timing = false): Target {
  return { name, measured, target, met, timing };
}

const mib = (bytes: number): string => `${(bytes / MIB).toFixed(1)} MiB`;
