import { LabError, hasCode } from '../errors.ts';
import { connectLines, oneAtATime, type LineSocket } from './line-socket.ts';

/** The QEMU guest agent (docs/interop/qemu-ga-ref of QEMU): works while the guest is cut off its network. */
export interface Qga {
  /** Runs an agent command. Throws LabError with the agent's words, or when it doesn't answer in time. */
  readonly command: (name: string, args?: Readonly<Record<string, unknown>>, timeoutMs?: number) => Promise<unknown>;
  readonly close: () => void;
}

const DELIMITER = 0xff;

/**
 * The bytes that bring both sides to a common beginning: 0xff makes the agent drop what it has half read, and it puts 0xff
 * before its answer, so that answers to questions of an earlier connection are told apart (guest-sync-delimited).
 */
export function syncRequest(id: number): Buffer {
  const text = JSON.stringify({ execute: 'guest-sync-delimited', arguments: { id } });
  return Buffer.concat([Buffer.from([DELIMITER]), Buffer.from(`${text}\n`)]);
}

/** True for the answer to syncRequest(id); anything else on the line, also half a document, is of earlier times. */
export function isSyncReply(line: Buffer, id: number): boolean {
  const at = line.lastIndexOf(DELIMITER);
  if (at < 0) return false;
  try {
    const message: unknown = JSON.parse(line.subarray(at + 1).toString());
    return typeof message === 'object' && message !== null && 'return' in message && message.return === id;
  } catch (error) {
    if (error instanceof SyntaxError) return false;
    throw error;
  }
}

/** The value of an answer. Throws LabError when the agent refused. */
export function parseReply(line: Buffer, command: string): unknown {
  const message: unknown = JSON.parse(line.toString());
  if (typeof message === 'object' && message !== null) {
    if ('return' in message) return message.return;
    if ('error' in message) {
      const { error } = message;
      const text =
        typeof error === 'object' && error !== null && 'desc' in error ? String(error.desc) : JSON.stringify(error);
      throw new LabError(`guest agent, ${command}: ${text}`);
    }
  }
  throw new LabError(`guest agent, ${command}: an answer that is neither "return" nor "error": ${line.toString()}`);
}

/**
 * A client for the agent behind a UNIX socket. It connects when first used and again after a failure; a request that has
 * no answer in time ends the connection, so that its late answer can't be taken for that of the next.
 */
export function qgaClient(path: string): Qga {
  const serial = oneAtATime();
  let socket: LineSocket | undefined;
  let syncId = Math.floor(Math.random() * 2 ** 30);
  const synced = async (deadline: number): Promise<LineSocket> => {
    if (socket !== undefined && !socket.closed()) return socket;
    const fresh = await connectUntil(path, deadline);
    try {
      // A guest that isn't up yet drops what is sent to it: ask again.
      for (;;) {
        syncId += 1;
        fresh.write(syncRequest(syncId));
        if (await sawSyncReply(fresh, syncId, Math.min(deadline, performance.now() + 700))) break;
        if (performance.now() >= deadline) throw new LabError(`${path}: the guest agent does not answer`);
      }
    } catch (error) {
      fresh.close();
      throw error;
    }
    socket = fresh;
    return fresh;
  };
  return {
    command: async (name, args = {}, timeoutMs = 30_000) =>
      await serial(async () => {
        const deadline = performance.now() + timeoutMs;
        const current = await synced(deadline);
        let line: Buffer;
        try {
          current.write(Buffer.from(`${JSON.stringify({ execute: name, arguments: args })}\n`));
          line = await current.nextLine(Math.max(1, deadline - performance.now()));
        } catch (error) {
          current.close();
          socket = undefined;
          throw error;
        }
        return parseReply(line, name);
      }),
    close: () => {
      socket?.close();
      socket = undefined;
    },
  };
}

async function sawSyncReply(socket: LineSocket, id: number, deadline: number): Promise<boolean> {
  for (;;) {
    const leftMs = deadline - performance.now();
    if (leftMs <= 0) return false;
    const line = await socket.nextLine(leftMs).catch((error: unknown) => {
      if (socket.closed()) throw error;
      return undefined;
    });
    if (line === undefined) return false;
    if (isSyncReply(line, id)) return true;
  }
}

/** QEMU makes the socket a moment after its start. */
async function connectUntil(path: string, deadline: number): Promise<LineSocket> {
  for (;;) {
    try {
      return await connectLines(path);
    } catch (error) {
      const early = hasCode(error, 'ENOENT') || hasCode(error, 'ECONNREFUSED');
      if (!early || performance.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}
