/** Topics below the doorbell's own. */
export interface Topics {
  /** `online` or `offline`, retained. */
  readonly availability: string;
  /** `{"event_type":"ring",…}` at the moment, never retained. */
  readonly ring: string;
  /** Who was there last, as JSON, retained. */
  readonly visitor: string;
  /** The last picture, a JPEG, retained. */
  readonly picture: string;
  /** Every message, tests included, as JSON. */
  readonly notification: string;
}

export function topicsOf(base: string): Topics {
  return {
    availability: `${base}/availability`,
    ring: `${base}/ring`,
    visitor: `${base}/visitor`,
    picture: `${base}/picture`,
    notification: `${base}/notification`,
  };
}

/** One retained message tells Home Assistant of the device with all that it has: https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload */
export function discovery(doorbell: {
  readonly id: string;
  readonly deviceName: string;
  readonly prefix: string;
  readonly topics: Topics;
}): { readonly topic: string; readonly payload: string } {
  const { id, deviceName, prefix, topics } = doorbell;
  const payload = {
    device: { identifiers: [id], name: deviceName, manufacturer: 'Changeover', model: 'Doorbell' },
    origin: { name: 'Changeover doorbell' },
    availability_topic: topics.availability,
    qos: 1,
    components: {
      ring: {
        platform: 'event',
        unique_id: `${id}_ring`,
        name: 'Ring',
        device_class: 'doorbell',
        event_types: ['ring'],
        state_topic: topics.ring,
      },
      visitor: {
        platform: 'sensor',
        unique_id: `${id}_visitor`,
        name: 'Last visitor',
        icon: 'mdi:account',
        state_topic: topics.visitor,
        value_template: '{{ value_json.visitor }}',
        json_attributes_topic: topics.visitor,
      },
      picture: {
        platform: 'image',
        unique_id: `${id}_picture`,
        name: 'Last picture',
        image_topic: topics.picture,
        content_type: 'image/jpeg',
      },
    },
  };
  return { topic: `${prefix}/device/${id}/config`, payload: JSON.stringify(payload) };
}
