import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chosenLockfile } from '../../cli/options/source.ts';

test('a bundle brings its lockfile along, unless it is read with another manifest', () => {
  const bundle = { path: 'b.tar', requires: new Set<string>(), lacking: [] };
  assert.equal(chosenLockfile({ bundle }, undefined, 'mine.lock.json'), undefined);
  assert.equal(chosenLockfile({ bundle }, 'manifest.json', 'mine.lock.json'), 'mine.lock.json');
  assert.equal(chosenLockfile({}, undefined, 'mine.lock.json'), 'mine.lock.json');
  assert.equal(chosenLockfile({}, 'manifest.json', undefined), undefined);
  assert.equal(chosenLockfile({}, 'manifest.json', false), undefined);
});
