import { LabError } from '../errors.ts';
import { connectLines, oneAtATime } from './line-socket.ts';

/** QEMU's own control socket (docs/interop/qmp-spec.rst of QEMU). */
export interface Qmp {
  /** Runs a command and returns its "return" value. Throws LabError with QEMU's words when it refuses. */
  readonly execute: (command: string, args?: Readonly<Record<string, unknown>>, timeoutMs?: number) => Promise<unknown>;
  readonly close: () => void;
}

/** An answer, or undefined for an event or the answer to another question. */
export function parseQmpReply(line: Buffer, id: number): { readonly value: unknown } | undefined {
  const message: unknown = JSON.parse(line.toString());
  if (typeof message !== 'object' || message === null || !('id' in message) || message.id !== id) return undefined;
  if ('error' in message) {
    const { error } = message;
    const text =
      typeof error === 'object' && error !== null && 'desc' in error ? String(error.desc) : JSON.stringify(error);
    throw new LabError(`QEMU refused: ${text}`);
  }
  return { value: 'return' in message ? message.return : undefined };
}

/** Connects to a QMP socket and leaves the negotiation behind. */
export async function connectQmp(path: string): Promise<Qmp> {
  const socket = await connectLines(path);
  const serial = oneAtATime();
  let lastId = 0;
  await socket.nextLine(10_000); // the greeting
  const execute: Qmp['execute'] = async (command, args = {}, timeoutMs = 20_000) =>
    await serial(async () => {
      lastId += 1;
      socket.write(Buffer.from(`${JSON.stringify({ execute: command, arguments: args, id: lastId })}\n`));
      const deadline = performance.now() + timeoutMs;
      for (;;) {
        const reply = parseQmpReply(await socket.nextLine(Math.max(1, deadline - performance.now())), lastId);
        if (reply !== undefined) return reply.value;
      }
    });
  await execute('qmp_capabilities');
  return { execute, close: socket.close };
}
