import { createServer } from 'node:net';
import { LabError, messageOf } from './errors.ts';
import { runFault } from './fault-words.ts';
import type { Lab } from './lab.ts';
import { connectLines } from './vm/line-socket.ts';

/** What the command line asks of a lab that runs in the background. */
export type ControlRequest =
  | {
      readonly kind: 'exec';
      readonly vm: string;
      readonly command: string;
      readonly input?: string;
      readonly timeoutMs: number;
    }
  | { readonly kind: 'fault'; readonly words: readonly string[] }
  | { readonly kind: 'status' };

export type ControlReply =
  | { readonly ok: true; readonly code: number; readonly stdout: string; readonly stderr: string }
  | { readonly ok: false; readonly error: string };

/** Serves requests on a UNIX socket in the lab's folder, for as long as this process lives. */
export async function serveControl(socketPath: string, lab: Lab): Promise<void> {
  const server = createServer((socket) => {
    let text = '';
    socket.on('error', () => undefined); // a client that went away: nobody to tell
    socket.on('data', (chunk) => {
      text += chunk.toString();
      if (!text.endsWith('\n')) return;
      const request = JSON.parse(text) as ControlRequest;
      text = '';
      answer(lab, request)
        .catch((error: unknown): ControlReply => ({ ok: false, error: messageOf(error) }))
        .then((reply) => socket.end(`${JSON.stringify(reply)}\n`))
        .catch(() => socket.destroy());
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(socketPath, resolve);
  });
}

async function answer(lab: Lab, request: ControlRequest): Promise<ControlReply> {
  switch (request.kind) {
    case 'exec': {
      const input = request.input === undefined ? {} : { input: Buffer.from(request.input, 'base64') };
      const result = await lab
        .vm(request.vm)
        .exec(request.command, { ...input, check: false, timeoutMs: request.timeoutMs });
      return { ok: true, ...result };
    }
    case 'fault':
      return { ok: true, code: 0, stdout: `${await runFault(lab, request.words)}\n`, stderr: '' };
    case 'status': {
      const lines = lab.vms.map(
        (vm) => `${vm.name} ${vm.address} zone ${vm.zone} ${vm.running() ? 'running' : 'powered off'}`,
      );
      return { ok: true, code: 0, stdout: `${lines.join('\n')}\n`, stderr: '' };
    }
  }
}

/** Asks a running lab. Throws LabError with its words when it refuses. */
export async function askLab(
  socketPath: string,
  request: ControlRequest,
  timeoutMs: number,
): Promise<ControlReply & { readonly ok: true }> {
  const socket = await connectLines(socketPath);
  try {
    socket.write(Buffer.from(`${JSON.stringify(request)}\n`));
    const reply = JSON.parse((await socket.nextLine(timeoutMs)).toString()) as ControlReply;
    if (!reply.ok) throw new LabError(reply.error);
    return reply;
  } finally {
    socket.close();
  }
}
