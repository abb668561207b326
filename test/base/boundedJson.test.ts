import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { hasRepeatedKeys, parseBoundedJson } from '../../base/boundedJson.ts';
import { parseManifest } from '../../registry/images/parseManifest.ts';
import { refused } from '../support/refused.ts';

describe('JSON of a registry', () => {
  it('is parsed as JSON.parse does, up to 64 levels', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 6 }), text => assert.deepEqual(parseBoundedJson(text), JSON.parse(text))),
      { numRuns: 300 },
    );
    const nested = (levels: number) => `${'['.repeat(levels)}${']'.repeat(levels)}`;
    assert.deepEqual(parseBoundedJson(nested(64)), JSON.parse(nested(64)));
    assert.throws(() => parseBoundedJson(nested(65)), /64 levels/);
    assert.throws(() => parseBoundedJson(`{"a":${nested(64)}}`), /64 levels/);
  });

  it('may have brackets and escaped quotes in its strings', () => {
    const value = { '[[\\"{{': `${'['.repeat(200)}\\"${'{'.repeat(200)}`, b: '\\\\' };
    assert.deepEqual(parseBoundedJson(JSON.stringify(value)), value);
    for (const text of ['"', '{"a', '"\\', '[[', ''])
      assert.throws(() => parseBoundedJson(text), SyntaxError, JSON.stringify(text));
  });

  it('has repeated keys only where JSON.parse has dropped one', () => {
    const isRepeated = (text: string) => hasRepeatedKeys(text, JSON.parse(text));
    fc.assert(
      fc.property(fc.json(), text => assert.equal(isRepeated(text), false)),
      { numRuns: 300 },
    );
    for (const text of ['{"a":":\\":{","\\"b:":["c:",{"__proto__":1}]}', '[{"a":1},{"a":1}]', '"a:\\\\"'])
      assert.equal(isRepeated(text), false, text);
    for (const text of ['{"a":1,"a":1}', '[{"b":{"a":1,"\\u0061":{}}}]', '{"__proto__":1,"__proto__":2}'])
      assert.equal(isRepeated(text), true, text);
  });

  it('is no manifest with millions of levels, or with more than a thousand annotations', () => {
    const deep = Buffer.from('['.repeat(2_000_000));
    assert.throws(() => parseManifest(deep, '', 'h/a:1'), refused('REGISTRY_PROTOCOL'));
    const annotations = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, at) => [`a${at}`, '']));
    const config = { mediaType: 'application/x', digest: `sha256:${'0'.repeat(64)}`, size: 1 };
    const manifest = (parts: object) =>
      Buffer.from(JSON.stringify({ schemaVersion: 2, config, layers: [config], ...parts }));
    const type = 'application/vnd.oci.image.manifest.v1+json';
    assert.equal(parseManifest(manifest({ annotations: annotations(1000) }), type, 'h/a:1').kind, 'image');
    for (const parts of [
      { annotations: annotations(1001) },
      { config: { ...config, annotations: annotations(1001) } },
      { layers: [config, { ...config, annotations: annotations(1001) }] },
    ])
      assert.throws(() => parseManifest(manifest(parts), type, 'h/a:1'), refused('IMAGE_MANIFEST_INVALID'));
  });
});
