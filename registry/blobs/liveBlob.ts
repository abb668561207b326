import { Readable } from 'node:stream';
import type { Descriptor } from '../image.ts';
import { formatReference, type Reference } from '../reference.ts';
import { BlobVerifier } from './blobVerifier.ts';
import type { BlobSource } from './obtainBlob.ts';
import { transferBlob } from './transferBlob.ts';

/**
 * A blob straight from the network, for where no disk can hold it. It breaks and resumes like any other, but it is verified
 * only as it ends, and each reader has it travel anew. Nothing is asked for before the first read.
 */
export function openLiveBlob({ places, transfer }: BlobSource, reference: Reference, descriptor: Descriptor): Readable {
  const verifier = new BlobVerifier(descriptor, formatReference(reference));
  const controller = new AbortController();
  let started = false;
  let resume = () => {};
  const stream = new Readable({
    read: () => {
      resume();
      if (started) return;
      started = true;
      bring().then(
        () => stream.push(null),
        (error: Error) => stream.destroy(error),
      );
    },
    destroy: (error, callback) => {
      controller.abort(error ?? new Error('nobody reads this any more'));
      resume();
      callback(error);
    },
  });
  const sink = {
    get receivedBytes() {
      return verifier.sizeBytes;
    },
    write(chunk: Buffer) {
      verifier.update(chunk);
      if (stream.push(chunk)) return undefined;
      return new Promise<void>(resolve => {
        resume = resolve;
      });
    },
  };
  const bring = async () => {
    await places.ask(reference, controller.signal, (at, retries) =>
      transferBlob(transfer, at, descriptor, sink, controller.signal, retries),
    );
    verifier.verify();
  };
  return stream;
}
