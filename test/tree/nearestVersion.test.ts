import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { compareVersions } from '../../tree/catalog.ts';
import { nearestVersion } from '../../tree/nearestVersion.ts';

function near(requested: string, ...versions: readonly string[]) {
  const found = nearestVersion(requested, [...versions].sort(compareVersions));
  return found === undefined ? undefined : `${found.version}${found.isSame ? ' (same)' : ''}`;
}

const NINE = Array.from({ length: 9 }, (_, patch) => `2.0.${patch}`);

describe('the version that is nearest to a missing one', () => {
  it('is the same version, written differently', () => {
    assert.equal(near('v2.0.3', ...NINE), '2.0.3 (same)');
    assert.equal(near('V2.0.3', ...NINE), '2.0.3 (same)');
    assert.equal(near('2.0.3', 'v2.0.3', '2.0.4'), 'v2.0.3 (same)');
    assert.equal(near('2.0.3+build.7', ...NINE), '2.0.3 (same)');
    assert.equal(near('2.0.3-RC.1', '2.0.3', '2.0.3-rc.1'), '2.0.3-rc.1 (same)');
    assert.equal(near('Stable', 'stable', '1.0.0'), 'stable (same)');
  });

  it('is the next one by semver', () => {
    assert.equal(near('2.0.9', ...NINE), '2.0.8');
    assert.equal(near('2.0.9', ...NINE, '2.1.0'), '2.0.8');
    assert.equal(near('2.0.5', '2.0.4', '2.0.6'), '2.0.6', 'the higher of two that are equally near');
    assert.equal(near('3.0.0', '2.0.0', '2.9.9'), '2.9.9');
    assert.equal(near('0.1.0', '1.0.0', '2.0.0'), '1.0.0');
    assert.equal(near('v2.0.9', 'v2.0.8', 'v2.1.0'), 'v2.0.8');
  });

  it('is a release for a release, and any version for a pre-release', () => {
    assert.equal(near('2.0.3', '2.0.2', '2.0.3-rc.1'), '2.0.2');
    assert.equal(near('2.0.3', '2.0.3-rc.1', '2.0.3-rc.2'), '2.0.3-rc.2');
    assert.equal(near('2.0.3-rc.2', '2.0.2', '2.0.3-rc.1'), '2.0.3-rc.1');
  });

  it('is the highest of an incomplete version', () => {
    assert.equal(near('2.0', ...NINE, '2.1.0'), '2.0.8');
    assert.equal(near('2', ...NINE, '2.1.0-rc.1'), '2.0.8');
    assert.equal(near('v2.0.x', ...NINE), '2.0.8');
    assert.equal(near('3', ...NINE), '2.0.8');
  });

  it('is a misspelled one, else the highest, where the version is not semver', () => {
    assert.equal(near('stabel', '1.0.0', 'stable'), 'stable');
    assert.equal(near('latest', ...NINE, '2.1.0-rc.1'), '2.0.8');
    assert.equal(near('x'.repeat(10_000), 'one'), 'one');
    assert.equal(near('1.0.0'), undefined);
  });

  it('is found among thousands with few comparisons', () => {
    const versions = Array.from({ length: 50_000 }, (_, at) => `1.${Math.floor(at / 1000)}.${at % 1000}`);
    assert.equal(nearestVersion('1.20.1000', versions)?.version, '1.20.999');
  });
});
