import { stat, unlink } from 'node:fs/promises';
import { connect } from 'node:net';
import { HoldfastError } from '../../lib/api/errors.ts';

/** sockaddr_un holds 108 bytes with the final zero (unix(7)). */
const MAX_SOCKET_PATH_BYTES = 107;

/**
 * The socket's path in an endpoint such as `unix:///run/holdfast/csi.sock`.
 *
 * @throws HoldfastError (HF004) for another scheme, a relative path, or a path that is too long for a socket
 */
export function parseEndpoint(endpoint: string): string {
  const path = /^unix:(?:\/\/(?=\/))?(\/(?!\/).*)$/.exec(endpoint)?.[1];
  const expected = 'a UNIX socket with an absolute path, such as unix:///run/holdfast/csi.sock';
  if (path === undefined || path.endsWith('/')) {
    throw new HoldfastError('HF004', `--endpoint is "${endpoint}": expected ${expected}`, { field: '--endpoint' });
  }
  const length = Buffer.byteLength(path);
  if (length > MAX_SOCKET_PATH_BYTES) {
    const limit = `a path of at most ${MAX_SOCKET_PATH_BYTES} bytes, this one has ${length}`;
    throw new HoldfastError('HF004', `--endpoint is "${endpoint}": expected ${limit}`, { field: '--endpoint' });
  }
  return path;
}

/**
 * Removes the socket that a killed program left behind.
 *
 * @throws Error when a program still listens on it, or when the path is not a socket
 */
export async function removeStaleSocket(path: string): Promise<void> {
  const found = await stat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (found === undefined) return;
  if (!found.isSocket()) throw new Error(`${path} exists and is not a socket; it is left alone`);
  if (await answers(path)) throw new Error(`another program already listens on ${path}`);
  await unlink(path);
}

async function answers(path: string): Promise<boolean> {
  return await new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED' || error.code === 'ENOENT') resolve(false);
      else reject(error);
    });
  });
}
