import { describe, expect, test } from '@jest/globals';
import { statusOf } from './guest-call.ts';

describe('the status of a gRPC answer, as curl prints it', () => {
  test.each([
    ['HTTP/2 200 \r\ncontent-type: application/grpc\r\n\r\ngrpc-status: 0\r\ngrpc-message: OK\r\n', 'OK', 'OK'],
    ['HTTP/2 200 \r\ngrpc-status: 9\r\ngrpc-message: HF502%3A no\r\n', 'FAILED_PRECONDITION', 'HF502: no'],
    ['HTTP/2 200 \r\ngrpc-status: 14\r\n', 'UNAVAILABLE', ''],
  ])('%j', (headers, code, details) => {
    expect(statusOf(headers)).toEqual({ code, details });
  });

  test('an answer of something else than gRPC is told as it is', () => {
    expect(statusOf('HTTP/2 404 \r\n')).toEqual({
      code: 'UNKNOWN',
      details: 'no gRPC status in the answer: HTTP/2 404',
    });
  });
});
