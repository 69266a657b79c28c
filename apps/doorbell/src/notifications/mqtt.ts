import { setTimeout as sleep } from 'node:timers/promises';
import type { Secret } from '@changeover/runtime';
import { connect, type IClientPublishOptions, type MqttClient } from 'mqtt';
import { type Channel, DeliveryError, type Message } from './channel.ts';
import { discovery, topicsOf, type Topics } from './home-assistant.ts';

const STOP_TIMEOUT_MS = 2000;

export interface MqttOptions {
  readonly url: string;
  readonly username: string | null;
  readonly password: Secret | null;
  /** Of this doorbell alone: a broker lets nobody else in under the same name. */
  readonly clientId: string;
  readonly topic: string;
  readonly deviceName: string;
  readonly discoveryPrefix: string;
  /** For a connection, and for the confirmation of a message. */
  readonly timeoutMs: number;
  readonly reconnectMs: number;
  readonly retry: Channel['retry'];
}

/** A device of Home Assistant, and topics for everybody else. Connected only while this side owns the messages. */
export class Mqtt implements Channel {
  readonly name = 'mqtt';
  readonly retry: Channel['retry'];
  readonly #options: MqttOptions;
  readonly #topics: Topics;
  #client: MqttClient | undefined;
  #isAnnounced = false;
  #lastFailure = 'it is not connected';

  constructor(options: MqttOptions) {
    this.#options = options;
    this.retry = options.retry;
    this.#topics = topicsOf(options.topic);
  }

  start(isBack: () => void): void {
    const { url, username, password, clientId, timeoutMs, reconnectMs } = this.#options;
    const client = connect(url, {
      clientId,
      ...(username === null ? {} : { username }),
      ...(password === null ? {} : { password: password.reveal() }),
      connectTimeout: timeoutMs,
      reconnectPeriod: reconnectMs,
      // A broker that refuses today may have got our password tomorrow.
      reconnectOnConnackError: true,
      will: { topic: this.#topics.availability, payload: Buffer.from('offline'), qos: 1, retain: true },
    });
    this.#client = client;
    client.on('error', (error) => {
      this.#lastFailure = 'code' in error ? String(error.code) : error.message;
    });
    client.on('close', () => {
      this.#isAnnounced = false;
    });
    client.on('connect', () => void this.#announce(client, isBack));
  }

  async stop(): Promise<void> {
    const client = this.#client;
    this.#client = undefined;
    if (client === undefined) return;
    // Whoever says goodbye has no last will.
    if (this.#isAnnounced)
      await Promise.race([
        this.#publish(client, this.#topics.availability, 'offline', { retain: true }).catch((error: unknown) => {
          console.error('MQTT was not told that the doorbell is offline:', error);
        }),
        sleep(STOP_TIMEOUT_MS),
      ]);
    this.#isAnnounced = false;
    await Promise.race([client.endAsync(), sleep(STOP_TIMEOUT_MS)]);
    client.end(true);
  }

  /** The ring comes last: who reacts to it finds visitor and picture. */
  async send(message: Message): Promise<void> {
    const client = this.#client;
    if (client === undefined || !client.connected || !this.#isAnnounced)
      throw new DeliveryError(`The MQTT broker is away: ${this.#lastFailure}`, 'away');
    const topics = this.#topics;
    await this.#publish(client, topics.notification, JSON.stringify(message));
    if (message.event_id === null) return;
    const picture = await message.picture();
    if (picture) await this.#publish(client, topics.picture, Buffer.from(picture), { retain: true });
    const visitor = message.person_name ?? visitorOf(message.alert_type);
    await this.#publish(client, topics.visitor, JSON.stringify({ visitor, ...message }), { retain: true });
    await this.#publish(client, topics.ring, JSON.stringify({ event_type: 'ring', visitor, ...message }));
  }

  async #announce(client: MqttClient, isBack: () => void): Promise<void> {
    const { clientId, deviceName, discoveryPrefix } = this.#options;
    const { topic, payload } = discovery({ id: clientId, deviceName, prefix: discoveryPrefix, topics: this.#topics });
    try {
      await this.#publish(client, topic, payload, { retain: true });
      await this.#publish(client, this.#topics.availability, 'online', { retain: true });
    } catch (error) {
      // Connected without being announced would be silent for ever.
      this.#lastFailure = error instanceof Error ? error.message : String(error);
      if (this.#client === client && client.connected) client.stream.destroy();
      return;
    }
    if (this.#client !== client) return;
    this.#isAnnounced = true;
    isBack();
  }

  /** Resolves with the broker's confirmation. A lost connection ends the wait: the message comes again with the next attempt. */
  async #publish(client: MqttClient, topic: string, payload: string | Buffer, options: IClientPublishOptions = {}) {
    const { timeoutMs } = this.#options;
    const settled = new AbortController();
    const { promise: lost, reject } = Promise.withResolvers<never>();
    const onClose = () => {
      reject(new DeliveryError('The MQTT broker is away: the connection was lost', 'away'));
    };
    client.once('close', onClose);
    const confirmed = client.publishAsync(topic, payload, { ...options, qos: 1 });
    const id = client.getLastMessageId();
    const late = sleep(timeoutMs, undefined, { signal: settled.signal }).then(() => {
      throw new DeliveryError(`The MQTT broker did not confirm within ${timeoutMs} ms`, 'failed');
    });
    try {
      await Promise.race([confirmed, lost, late]);
    } catch (error) {
      // Otherwise the client would send it too when it is connected again.
      client.removeOutgoingMessage(id);
      if (error instanceof DeliveryError) throw error;
      throw new DeliveryError(`The MQTT broker took no message: ${(error as Error).message}`, 'failed');
    } finally {
      client.removeListener('close', onClose);
      settled.abort();
    }
  }
}

function visitorOf(alertType: string): string {
  if (alertType === 'unknown_person_detected') return 'Unknown person';
  return alertType === 'blacklist_detected' ? 'Unwanted person' : 'Nobody seen';
}
