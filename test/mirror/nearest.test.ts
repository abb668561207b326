import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { nearest } from '../../mirror/json/problem.ts';

const KEYS = ['image', 'file', 'versions', 'tags', 'aliases', 'platform', 'signatures'];

describe('what was probably meant', () => {
  for (const [written, meant] of [
    ['Files', 'file'],
    ['FILE', 'file'],
    ['IMAGES', 'image'],
    ['img', 'image'],
    ['imageName', 'image'],
    ['vers', 'versions'],
    ['Version', 'versions'],
    ['verisons', 'versions'],
    ['sig', 'signatures'],
    ['alias', 'aliases'],
    ['Plat', 'platform'],
  ] as const)
    it(`by ${written} is ${meant}`, () => assert.equal(nearest(written, KEYS), meant));

  for (const written of ['x', '', 'fi', 'url', 'name', 'description', 'ies', 'mag', 'ist', 'pt'])
    it(`by "${written}" is anybody's guess`, () => assert.equal(nearest(written, KEYS), undefined));

  it('is told in the spelling of the one that is there, the nearest first', () => {
    assert.equal(nearest('BASEPATH', ['basePath', 'base']), 'basePath');
    assert.equal(nearest('sign', ['signatures', 'signers']), 'signers');
    assert.equal(nearest('2.0.1', ['1.0.0', '2.0.0']), '2.0.0');
    assert.equal(nearest('1.0', ['1.0.0-alpha.1']), undefined);
    assert.equal(nearest('image', []), undefined);
  });
});
