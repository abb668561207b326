import assert from 'node:assert/strict';
import { Refusal } from '../../base/refusal.ts';

/** For assert.rejects: a refusal with this code, and with a hint. */
export const refused =
  (code: string) =>
  (error: unknown): true => {
    assert.ok(error instanceof Refusal, `not a refusal: ${error instanceof Error ? error.stack : String(error)}`);
    assert.equal((error as Refusal & { code: string }).code, code, error.message);
    assert.notEqual(error.hint, '');
    return true;
  };
