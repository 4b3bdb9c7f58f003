// The own camera and microphone in a call: opening, changing and closing them.

import { TandemError } from './errors.js';

const DEVICES = { camera: 'videoinput', microphone: 'audioinput' };
const KINDS = { camera: 'video', microphone: 'audio' };
const FAULTS = {
  NotAllowedError: ['denied', 'The browser does not allow the page to use it.'],
  SecurityError: ['denied', 'The browser does not allow the page to use it.'],
  NotFoundError: ['no_device', 'This computer has none, or it is not connected.'],
  OverconstrainedError: ['no_device', 'The chosen device is not connected.'],
  NotReadableError: ['busy', 'Another program uses it, or it is faulty.'],
};

/*
 * A camera or microphone that cannot be used. device: 'camera' or 'microphone'. Codes: "denied" by the user or the browser,
 * "no_device", "busy", "insecure" (the page is not https), "failed".
 */
export class CallError extends TandemError {
  constructor(code, device, message, options) {
    super(code, `${device}: ${message}`, options);
    this.device = device;
  }
}

/*
 * device: 'camera' or 'microphone'.
 * events: replaced(kind, track), returns a promise that is resolved when all connections send the track, null for none;
 * changed(), of `on` or the stream; lost(), a device that was on is off; problem(error) with a CallError.
 */
export class CallDevices {
  // Whether each device is on.
  on = { camera: false, microphone: false };
  // The picture and sound, sent to all; undefined before the first call.
  stream;
  #environment;
  #constraints;
  #events;
  #chosen = {};
  #open = false;

  // constraints: {video, audio}, for getUserMedia. environment: an Environment.
  constructor(environment, constraints, events) {
    this.#environment = environment;
    this.#constraints = constraints;
    this.#events = events;
  }

  // A call begins.
  begin() {
    this.#open = true;
    this.stream ??= this.#environment.newMediaStream();
  }

  // The call ends: close both devices.
  end() {
    this.#open = false;
    for (const device of Object.keys(DEVICES)) this.#stop(device);
  }

  // Return the own track of a kind, 'video' or 'audio', or null.
  track(kind) {
    return this.stream?.getTracks().find((track) => track.kind === kind) ?? null;
  }

  // Return the devices: {id, label}. The labels are empty until the browser allows the page to use one.
  async list(device) {
    const found = (await this.#environment.mediaDevices?.enumerateDevices?.()) ?? [];
    const wanted = found.filter(({ kind }) => kind === DEVICES[device]);
    return wanted.map(({ deviceId, label }) => ({ id: deviceId, label }));
  }

  // The id of the device that is in use, '' for none.
  id(device) {
    return this.track(KINDS[device])?.getSettings().deviceId ?? '';
  }

  // Turn a device on or off. The promise is resolved with whether that was to be done; a failure is reported as a problem.
  async turn(device, on) {
    if (!this.#open || this.on[device] === on) return false;
    if (on) await this.#turnOn(device);
    else this.#stop(device);
    return true;
  }

  // Use another device. id: '' for the default. See `turn`.
  async choose(device, id) {
    this.#chosen[device] = id;
    if (!this.#open || !this.on[device]) return false;
    this.#stop(device);
    await this.#turnOn(device);
    return true;
  }

  async #turnOn(device) {
    const kind = KINDS[device];
    try {
      const track = await this.#request(device, kind);
      if (!this.#open) {
        track.stop();
        return;
      }
      this.#stop(device);
      track.onended = () => this.#lost(device, track);
      this.stream.addTrack(track);
      this.on[device] = true;
      await this.#events.replaced(kind, track);
    } catch (error) {
      const [code, text] = FAULTS[error.name] ?? ['failed', error.message];
      this.#events.problem(error instanceof CallError ? error : new CallError(code, device, text, { cause: error }));
    }
    this.#events.changed();
  }

  async #request(device, kind) {
    const devices = this.#environment.mediaDevices;
    if (!devices?.getUserMedia) throw new CallError('insecure', device, 'Browsers allow it on https pages only.');
    const id = this.#chosen[device];
    const wanted = { ...this.#constraints[kind], ...(id ? { deviceId: { exact: id } } : {}) };
    const [track] = (await devices.getUserMedia({ [kind]: wanted })).getTracks();
    return track;
  }

  #stop(device) {
    const kind = KINDS[device];
    const track = this.track(kind);
    this.on[device] = false;
    if (!track) return;
    track.onended = null;
    track.stop();
    this.stream.removeTrack(track);
    this.#events.replaced(kind, null);
  }

  // The device was unplugged, or its permission was taken back.
  #lost(device, track) {
    if (this.track(KINDS[device]) !== track) return;
    this.#stop(device);
    this.#events.problem(new CallError('no_device', device, 'It was disconnected.'));
    this.#events.lost();
  }
}
