import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { targets, type Figures } from './figures.ts';
import type { Moment, Span } from './teller.ts';

const COLOURS: Readonly<Record<Span['kind'], string>> = {
  good: '#2e7d32',
  fault: '#c62828',
  sync: '#1565c0',
  stall: '#ef6c00',
};

/** Writes `demo-report.json` (the figures) and `demo-report.html` (the story with a timeline picture). */
export async function writeReport(
  dir: string,
  figures: Partial<Figures>,
  moments: readonly Moment[],
  spans: readonly Span[],
): Promise<{ json: string; html: string }> {
  await mkdir(dir, { recursive: true });
  const json = path.join(dir, 'demo-report.json');
  const html = path.join(dir, 'demo-report.html');
  await writeFile(json, `${JSON.stringify(figures, null, 2)}\n`);
  await writeFile(html, page(figures, moments, spans));
  return { json, html };
}

function page(figures: Partial<Figures>, moments: readonly Moment[], spans: readonly Span[]): string {
  const rows = isComplete(figures)
    ? targets(figures).map(
        ({ name, measured, target, met }) =>
          `<tr class="${met ? 'good' : 'bad'}"><td>${escape(name)}</td><td>${escape(measured)}</td><td>${escape(target)}</td></tr>`,
      )
    : [];
  const told = moments.map(
    ({ atMs, text, kind }) => `<tr class="${kind}"><td>${(atMs / 1000).toFixed(1)} s</td><td>${escape(text)}</td></tr>`,
  );
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Holdfast: the demo</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0; }
td, th { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid #ddd; vertical-align: top; }
td:first-child { white-space: nowrap; }
tr.step td { font-weight: 600; padding-top: 1rem; } tr.fault td { color: #c62828; } tr.good td { color: #2e7d32; } tr.bad td { color: #c62828; font-weight: 600; }
svg text { font: 12px system-ui, sans-serif; }
</style></head><body>
<h1>Holdfast: the demo</h1>
<p>A volume with two replicas in different zones, on real kernels (${escape(figures.accelerator ?? '')}): what happened, when, and what it cost.</p>
${timeline(moments, spans)}
<h2>Figures</h2>
<table><tr><th>what</th><th>measured</th><th>should be</th></tr>${rows.join('\n')}</table>
<h2>The story</h2>
<table>${told.join('\n')}</table>
</body></html>
`;
}

/** A lane for the writer and each machine, a bar for each stretch of time, a tick for each chapter. */
export function timeline(moments: readonly Moment[], spans: readonly Span[]): string {
  const lanes = [...new Set(['writer', ...spans.map((span) => span.lane)])].sort((a, b) =>
    a === 'writer' ? -1 : b === 'writer' ? 1 : a.localeCompare(b),
  );
  const endMs = Math.max(1, ...moments.map((moment) => moment.atMs), ...spans.map((span) => span.toMs));
  const [left, width, laneHeight, top] = [70, 860, 30, 40];
  const x = (ms: number): number => Math.round((left + (ms / endMs) * width) * 10) / 10;
  const height = top + lanes.length * laneHeight + 30;
  const bars = spans.map((span) => {
    const y = top + lanes.indexOf(span.lane) * laneHeight;
    const barWidth = Math.max(2, x(span.toMs) - x(span.fromMs));
    const title = `${span.lane}: ${span.text}, ${((span.toMs - span.fromMs) / 1000).toFixed(1)} s`;
    const label =
      barWidth > span.text.length * 7 + 8
        ? `<text x="${x(span.fromMs) + 4}" y="${y + 15}" fill="#fff">${escape(span.text)}</text>`
        : '';
    return `<rect x="${x(span.fromMs)}" y="${y}" width="${barWidth}" height="22" rx="3" fill="${COLOURS[span.kind]}"><title>${escape(title)}</title></rect>${label}`;
  });
  const names = lanes.map(
    (lane, index) => `<text x="4" y="${top + index * laneHeight + 15}">${escape(lane)}</text>
<line x1="${left}" x2="${left + width}" y1="${top + index * laneHeight + 11}" y2="${top + index * laneHeight + 11}" stroke="#ddd"/>`,
  );
  const chapters = moments.filter((moment) => moment.kind === 'step');
  const ticks = chapters.map(
    (moment, index) =>
      `<line x1="${x(moment.atMs)}" x2="${x(moment.atMs)}" y1="22" y2="${height - 24}" stroke="#999" stroke-dasharray="3 3"/><text x="${x(moment.atMs) + 2}" y="18">${index + 1}<title>${escape(moment.text)}</title></text>`,
  );
  const seconds = Array.from({ length: 6 }, (_, index) => (endMs * index) / 5).map(
    (ms) => `<text x="${x(ms) - 12}" y="${height - 6}" fill="#666">${Math.round(ms / 1000)} s</text>`,
  );
  return `<svg viewBox="0 0 ${left + width + 40} ${height}" width="100%" role="img" aria-label="timeline">
${[...names, ...ticks, ...bars, ...seconds].join('\n')}
</svg>
<p>Numbers above are the story's chapters. <span style="color:${COLOURS.fault}">red</span>: away, <span style="color:${COLOURS.sync}">blue</span>: copying, <span style="color:${COLOURS.stall}">orange</span>: writes wait.</p>`;
}

export function isComplete(figures: Partial<Figures>): figures is Figures {
  const names: readonly (keyof Figures)[] = [
    'stallMs',
    'legTimeoutMs',
    'recordedBeforeAck',
    'bytesDirtied',
    'bytesResynced',
    'volumeBytes',
    'bytesHealed',
    'acknowledgedWrites',
    'lostWrites',
    'mdadmRatio',
    'rssMiB',
  ];
  return names.every((name) => figures[name] !== undefined);
}

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}
