import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { messageOf } from '../errors.ts';
import { shellQuote } from '../../../lib/host/exec.ts';
import { execInGuest } from './exec.ts';
import { isSyncReply, parseReply, qgaClient, syncRequest } from './qga.ts';

describe('the framing', () => {
  test('a synchronization begins with the byte that resets the agent', () => {
    const bytes = syncRequest(17);
    expect(bytes[0]).toBe(0xff);
    expect(JSON.parse(bytes.subarray(1).toString())).toEqual({
      execute: 'guest-sync-delimited',
      arguments: { id: 17 },
    });
    expect(bytes.at(-1)).toBe(10);
  });

  test.each([
    ['\u00ff{"return": 17}', true],
    ['half a docum\u00ff{"return": 17}', true],
    ['\u00ff{"return": 16}', false],
    ['{"return": 17}', false],
    ['\u00ff{"return"', false],
    ['\u00ff{"error": {"desc": "no"}}', false],
    ['', false],
  ])('%j', (line, ours) => {
    expect(isSyncReply(Buffer.from(line, 'latin1'), 17)).toBe(ours);
  });

  test('an answer is a value or the words of the agent', () => {
    expect(parseReply(Buffer.from('{"return": {"pid": 3}}'), 'x')).toEqual({ pid: 3 });
    expect(() => parseReply(Buffer.from('{"error": {"desc": "Guest is on fire"}}'), 'guest-exec')).toThrow(
      'guest agent, guest-exec: Guest is on fire',
    );
    expect(() => parseReply(Buffer.from('{}'), 'guest-exec')).toThrow('neither');
  });
});

test.each([
  ['plain', "'plain'"],
  ["it's", String.raw`'it'\''s'`],
  ['', "''"],
])('shellQuote(%j)', (text, quoted) => {
  expect(shellQuote(text)).toBe(quoted);
});

interface Message {
  readonly execute: string;
  readonly arguments: Readonly<Record<string, unknown>>;
}

describe('a client', () => {
  let dir: string;
  let socketPath: string;
  let server: Server;
  let sockets: Socket[];
  /** Answers one message, or nothing. */
  let agent: (message: Message) => string | undefined;
  let executed: Message[];
  let late: string | undefined;

  beforeEach(async () => {
    dir = mkdtempSync(path.join(os.tmpdir(), 'holdfast-qga-'));
    socketPath = path.join(dir, 's');
    sockets = [];
    executed = [];
    late = undefined;
    server = createServer((socket) => {
      sockets.push(socket);
      socket.on('error', () => undefined);
      // what the guest said too late for the connection before comes out of this one
      if (late !== undefined) socket.write(`${late}\n`);
      socket.on('data', (chunk) => {
        for (const line of chunk.toString('latin1').split('\n')) {
          if (line === '') continue;
          const message = JSON.parse(line.replaceAll('\u00ff', '')) as Message;
          if (message.execute === 'guest-sync-delimited') {
            socket.write(Buffer.from(`\u00ff{"return": ${String(message.arguments['id'])}}\n`, 'latin1'));
            continue;
          }
          executed.push(message);
          const answer = agent(message);
          if (answer !== undefined) socket.write(`${answer}\n`);
        }
      });
    });
    await new Promise<void>((resolve) => {
      server.listen(socketPath, resolve);
    });
  });

  afterEach(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => {
      server.close(resolve);
    });
    rmSync(dir, { recursive: true, force: true });
  });

  test('sends one request at a time and gives each its own answer', async () => {
    let busy = 0;
    agent = (message) => {
      busy += 1;
      return JSON.stringify({ return: [message.arguments['n'], busy] });
    };
    const client = qgaClient(socketPath);
    const answers = await Promise.all([1, 2, 3].map(async (n) => await client.command('echo', { n })));
    expect(answers).toEqual([
      [1, 1],
      [2, 2],
      [3, 3],
    ]);
    client.close();
  });

  test('a late answer is not taken for that of the next request', async () => {
    agent = (message) => (message.execute === 'slow' ? undefined : '{"return": "fresh"}');
    const client = qgaClient(socketPath);
    late = '{"return": "late"}';
    await expect(client.command('slow', {}, 100)).rejects.toThrow('no answer after');
    expect(await client.command('quick')).toBe('fresh');
    expect(sockets).toHaveLength(2);
    client.close();
  });

  test('a connection that breaks fails its request, and the next one has a new connection', async () => {
    agent = () => undefined;
    const client = qgaClient(socketPath);
    const asked = client.command('anything').then(
      () => 'answered',
      (error: unknown) => messageOf(error),
    );
    while (executed.length === 0) {
      await new Promise((resolve) => {
        setTimeout(resolve, 5);
      });
    }
    for (const socket of sockets) socket.destroy();
    expect(await asked).toMatch(/closed by the other side|ECONNRESET/);
    agent = () => '{"return": 1}';
    expect(await client.command('again')).toBe(1);
    client.close();
  });

  test('exec waits for the end, decodes the output and kills what takes too long', async () => {
    let polls = 0;
    agent = (message) => {
      if (message.execute === 'guest-exec') return '{"return": {"pid": 77}}';
      polls += 1;
      if (polls < 3) return '{"return": {"exited": false}}';
      const out = Buffer.from('done\n').toString('base64');
      return JSON.stringify({ return: { exited: true, exitcode: 3, 'out-data': out } });
    };
    const client = qgaClient(socketPath);
    const result = await execInGuest(client, 'vm', 'work', { check: false, input: 'in', env: { A: 'b' } });
    expect({ ...result, stdout: result.stdout.toString() }).toEqual({ code: 3, stdout: 'done\n', stderr: '' });
    expect(executed[0]?.arguments).toMatchObject({ path: '/bin/bash', arg: ['-c', 'work'], 'input-data': 'aW4=' });
    expect(executed[0]?.arguments['env']).toContain('A=b');
    polls = -1_000_000;
    await expect(execInGuest(client, 'vm', 'work', { timeoutMs: 50 })).rejects.toThrow(/vm: work\nnot finished/);
    expect(executed.at(-1)?.arguments).toEqual({ path: '/bin/kill', arg: ['-9', '77'] });
    client.close();
  });
});
