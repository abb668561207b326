import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { causeKeyOf, Refusal, rootOf } from '../../base/refusal.ts';

class Broken extends Refusal {
  readonly code = 'BROKEN';
}

const hint = 'Repair it.';

describe('the cause of a refusal', () => {
  it('is the error that it follows from, over several steps', () => {
    const root = new Broken('a', { subject: 'host', hint });
    const second = new Broken('b', { subject: 'x', hint, consequenceOf: root });
    const third = new Broken('c', { subject: 'y', hint, consequenceOf: second });
    assert.equal(rootOf(third), root);
    assert.equal(third.cause, second);
    assert.equal(causeKeyOf(third), causeKeyOf(root));
    const plain = new Error('plain');
    assert.equal(rootOf(new Broken('d', { hint, consequenceOf: plain })), plain);
  });

  it('is the same for two errors with one code and one faulty thing, whatever their words', () => {
    const key = (message: string, details: { subject?: string; faultIn?: string }) =>
      causeKeyOf(new Broken(message, { hint, ...details }));
    assert.equal(key('one', { subject: 'a', faultIn: 'host' }), key('two', { subject: 'b', faultIn: 'host' }));
    assert.notEqual(key('one', { subject: 'a' }), key('one', { subject: 'b' }));
    assert.equal(key('one', { subject: 'a' }), key('two', { subject: 'a' }));
  });

  it('is not the cause of an error that was only translated', () => {
    const translated = new Broken('words', { hint, subject: 'a', cause: new Broken('raw', { hint, subject: 'b' }) });
    assert.equal(rootOf(translated), translated);
  });
});
