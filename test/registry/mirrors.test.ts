import assert from 'node:assert/strict';
import { describe, it, mock } from 'node:test';
import {
  RegistryNotFound,
  RegistryProtocol,
  type RegistryRefusal,
  RegistryRefused,
  RegistryTimeout,
  RegistryUnavailable,
} from '../../registry/errors.ts';
import { Mirrors } from '../../registry/fallback/mirrors.ts';
import { formatReference, parseReference } from '../../registry/reference.ts';

const signal = new AbortController().signal;
const MIRRORS = { 'origin.example': ['first.example/higress', 'second.example:5000'] };
const a = parseReference('origin.example/plugins/a:1');
const b = parseReference('origin.example/plugins/b:1');
const c = parseReference('origin.example/plugins/c:1');

const refused = () => new RegistryRefused('nobody listens', { hint: 'start it' });
const missing = () => new RegistryNotFound('not there', { hint: 'push it', missing: 'manifest' });
const broken = () => new RegistryUnavailable('503', { hint: 'wait' });
const silent = () => new RegistryTimeout('silence', { hint: 'wait' });

/** Sends a request and returns the hosts that got it; `faults` by host. */
async function asked(
  places: Mirrors,
  reference: typeof a,
  faults: Readonly<Record<string, () => RegistryRefusal>>,
): Promise<{ hosts: string[]; error?: RegistryRefusal }> {
  const hosts: string[] = [];
  try {
    await places.first(reference, signal, async at => {
      hosts.push(formatReference(at));
      const fault = faults[at.registry];
      if (fault !== undefined) throw fault();
    });
    return { hosts };
  } catch (error) {
    return { hosts, error: error as RegistryRefusal };
  }
}

describe('mirrors', () => {
  it('are asked in order, under their prefixes, before the registry', async () => {
    const { hosts, error } = await asked(new Mirrors(MIRRORS), a, {
      'first.example': missing,
      'second.example:5000': missing,
    });
    assert.equal(error, undefined);
    assert.deepEqual(hosts, [
      'first.example/higress/plugins/a:1',
      'second.example:5000/plugins/a:1',
      'origin.example/plugins/a:1',
    ]);
  });

  it('of other registries are not asked', async () => {
    const { hosts } = await asked(new Mirrors(MIRRORS), parseReference('other.example/x:1'), {});
    assert.deepEqual(hosts, ['other.example/x:1']);
  });

  for (const [what, fault] of Object.entries({ refused, broken, silent }))
    it(`that fail as a whole are not asked for the next image (${what})`, async () => {
      const places = new Mirrors(MIRRORS);
      await asked(places, a, { 'first.example': fault });
      const { hosts } = await asked(places, b, {});
      assert.deepEqual(hosts, ['second.example:5000/plugins/b:1']);
    });

  it('that lack one image are asked for the next', async () => {
    const places = new Mirrors(MIRRORS);
    await asked(places, a, { 'first.example': missing });
    assert.deepEqual((await asked(places, b, {})).hosts, ['first.example/higress/plugins/b:1']);
  });

  it('that all fail are all in the error', async () => {
    const { error } = await asked(new Mirrors(MIRRORS), a, {
      'first.example': refused,
      'second.example:5000': missing,
      'origin.example': broken,
    });
    assert.equal((error as RegistryRefusal & { code: string }).code, 'REGISTRY_ALL_FAILED');
    assert.match(error?.message ?? '', /first\.example.*nobody listens.*second\.example:5000.*not there.*503/);
    assert.equal(error?.hint, 'wait');
  });

  it('that were given up are in the error with their last message', async () => {
    const places = new Mirrors(MIRRORS);
    await asked(places, a, { 'first.example': refused });
    const { error } = await asked(places, b, { 'second.example:5000': missing, 'origin.example': missing });
    assert.match(error?.message ?? '', /first\.example.*nobody listens/);
  });

  it('the only host reports its own error, and is given up immediately if the connection is refused', async () => {
    const places = new Mirrors();
    assert.ok((await asked(places, a, { 'origin.example': refused })).error instanceof RegistryRefused);
    const { hosts, error } = await asked(places, b, {});
    assert.deepEqual(hosts, []);
    assert.ok(error instanceof RegistryRefused);
    assert.match(error.message, /nobody listens/);
    assert.equal(error.subject, 'origin.example/plugins/b:1');
  });

  it('the only host may fail for two images and is still asked for the third', async () => {
    const places = new Mirrors();
    await asked(places, a, { 'origin.example': broken });
    await asked(places, b, { 'origin.example': broken });
    assert.equal((await asked(places, c, {})).error, undefined);
    await asked(places, a, { 'origin.example': broken });
    assert.equal((await asked(places, b, {})).hosts.length, 1);
  });

  it('that answer other requests meanwhile are not given up for some failures', async () => {
    const places = new Mirrors(MIRRORS);
    await asked(places, a, {});
    const fail: (() => void)[] = [];
    const failing = [a, b, c].map(reference =>
      places
        .first(reference, signal, at => {
          if (at.registry !== 'first.example') return Promise.resolve();
          return new Promise<void>((_, reject) => fail.push(() => reject(silent())));
        })
        .catch(() => undefined),
    );
    await asked(places, a, {});
    for (const end of fail) end();
    await Promise.all(failing);
    assert.deepEqual((await asked(places, b, {})).hosts, ['first.example/higress/plugins/b:1']);
  });

  it('that were given up are probed by one caller after a minute', async () => {
    let now = 0;
    const places = new Mirrors({}, { now: () => now });
    await asked(places, a, { 'origin.example': refused });
    now = 61_000;
    const [first, second] = await Promise.all([
      asked(places, a, { 'origin.example': refused }),
      asked(places, b, { 'origin.example': refused }),
    ]);
    assert.deepEqual([first.hosts.length, second.hosts.length], [1, 0]);
    now = 130_000;
    assert.equal((await asked(places, a, {})).error, undefined);
    assert.equal((await asked(places, b, {})).error, undefined);
  });

  it('without any answer yet get one request, and none after they were given up, which is reported once', async () => {
    const told: string[] = [];
    const places = new Mirrors(MIRRORS, { onGivenUp: registry => told.push(registry) });
    const portal = () => new RegistryProtocol('a web page', { hint: 'log in', hostwide: true });
    const many = Array.from({ length: 60 }, (_, index) => parseReference(`origin.example/plugins/p${index}:1`));
    const all = await Promise.all(many.map(reference => asked(places, reference, { 'first.example': portal })));
    const hosts = all.flatMap(it => it.hosts.map(host => host.split('/')[0]));
    assert.equal(hosts.filter(host => host === 'first.example').length, 1);
    assert.equal(hosts.filter(host => host === 'second.example:5000').length, 60);
    assert.deepEqual(told, ['first.example']);
  });

  it('the only host is given up after three images if it is not a registry', async () => {
    const places = new Mirrors();
    const portal = () => new RegistryProtocol('a web page', { hint: 'log in', hostwide: true });
    const many = Array.from({ length: 60 }, (_, index) => parseReference(`origin.example/plugins/p${index}:1`));
    const all = await Promise.all(many.map(reference => asked(places, reference, { 'origin.example': portal })));
    assert.equal(all.flatMap(it => it.hosts).length, 3);
    assert.ok(all.every(({ error }) => error instanceof RegistryProtocol && /a web page/.test(error.message)));
  });

  it('that are slow at first get one more request each second, and all once they answer', async context => {
    mock.timers.enable({ apis: ['setTimeout'] });
    context.after(() => mock.timers.reset());
    const places = new Mirrors();
    const answers: (() => void)[] = [];
    const hear = async (): Promise<void> => new Promise(resolve => answers.push(resolve));
    const many = Array.from({ length: 20 }, (_, index) => parseReference(`origin.example/plugins/p${index}:1`));
    const asking = Promise.all(many.map(reference => places.first(reference, signal, hear)));
    for (const underWay of [1, 2, 3, 4, 4]) {
      await new Promise(setImmediate);
      assert.equal(answers.length, underWay);
      mock.timers.tick(1000);
    }
    answers[2]?.();
    await new Promise(setImmediate);
    assert.equal(answers.length, 20);
    for (const answer of answers) answer();
    await asking;
  });

  it('that hang are given up once the pending requests have failed, and get no further ones', async context => {
    mock.timers.enable({ apis: ['setTimeout'] });
    context.after(() => mock.timers.reset());
    const places = new Mirrors();
    const failing: (() => void)[] = [];
    const hang = async (): Promise<void> => new Promise((_, reject) => failing.push(() => reject(silent())));
    const many = Array.from({ length: 20 }, (_, index) => parseReference(`origin.example/plugins/p${index}:1`));
    const asking = Promise.allSettled(many.map(reference => places.first(reference, signal, hang)));
    for (let second = 0; second < 5; second += 1) {
      await new Promise(setImmediate);
      mock.timers.tick(1000);
    }
    failing[3]?.();
    await new Promise(setImmediate);
    mock.timers.tick(3000);
    await new Promise(setImmediate);
    for (const fail of failing) fail();
    assert.ok((await asking).every(({ status }) => status === 'rejected'));
    assert.equal(failing.length, 4);
  });

  it('that identify themselves get all requests before the first reply', async () => {
    const places = new Mirrors();
    const answers: (() => void)[] = [];
    const hear = async (): Promise<void> => new Promise(resolve => answers.push(resolve));
    const asking = Promise.all([a, b, c].map(reference => places.first(reference, signal, hear)));
    await new Promise(setImmediate);
    assert.equal(answers.length, 1);
    places.identified('origin.example');
    await new Promise(setImmediate);
    assert.equal(answers.length, 3);
    for (const answer of answers) answer();
    await asking;
  });

  it('without any answer yet let a waiting caller abort', async () => {
    const places = new Mirrors();
    const answers: (() => void)[] = [];
    const first = places.first(a, signal, () => new Promise<void>(resolve => answers.push(resolve)));
    const leaver = new AbortController();
    const second = places.first(b, leaver.signal, async () => assert.fail('it was not asked'));
    leaver.abort(new Error('left'));
    await assert.rejects(second, /left/);
    answers[0]?.();
    await first;
  });

  it('are not skipped for an error that is not a refusal', async () => {
    const places = new Mirrors(MIRRORS);
    await assert.rejects(
      places.first(a, signal, async () => {
        throw new TypeError('a bug');
      }),
      TypeError,
    );
  });

  it('are not asked after the caller has aborted', async () => {
    const controller = new AbortController();
    const hosts: string[] = [];
    const asking = new Mirrors(MIRRORS).first(a, controller.signal, async at => {
      hosts.push(at.registry);
      controller.abort(new Error('left'));
      throw refused();
    });
    await assert.rejects(asking, /left/);
    assert.equal(hosts.length, 1);
  });

  for (const place of ['https://harbor.local', 'harbor.local/UPPER', '', 'harbor.local/a:1', '/x'])
    it(`refuse "${place}" as a mirror`, () => {
      assert.throws(() => new Mirrors({ 'origin.example': [place] }), { code: 'REGISTRY_OPTIONS' });
    });
});
