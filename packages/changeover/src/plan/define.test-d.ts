import { expectTypeOf, it } from 'vitest';
import type { ChangeoverTypeError, CheckedAuthor, PlanAuthor } from './author.ts';
import { defineChangeover } from './define.ts';
import type { Plan } from './plan.ts';
import type { Unit } from './ports.ts';

declare const legacy: Unit;
declare const next: Unit;
declare const onPort5002: Unit & { readonly url: 'http://127.0.0.1:5002/' };
declare const plan: PlanAuthor;
declare const address: string;

const base = {
  name: 'doorbell',
  legacy: { units: [legacy] },
  next: { units: [next] },
  gateway: { listen: '127.0.0.1:5000' },
} as const;

it('a plan of literals is a Plan', () => {
  expectTypeOf(
    defineChangeover({
      ...base,
      backup: { paths: ['data'], compress: 'zstd' },
      cutover: { hold: { deadline: '5s', rollbackDeadline: 30_000 }, drain: { deadline: '1.5m' } },
    }),
  ).toEqualTypeOf<Plan>();
});

it('addresses of every form are taken, also those known only at run time', () => {
  defineChangeover({ ...base, gateway: { listen: 5000 } });
  defineChangeover({ ...base, gateway: { listen: '[::1]:5000' } });
  defineChangeover({ ...base, gateway: { listen: { host: '::1', port: 5000 } } });
  defineChangeover({ ...base, gateway: { listen: address } });
  defineChangeover({ ...base, gateway: { listen: Number(address) } });
});

it('an address without a port is a type error that says so', () => {
  expectTypeOf<
    CheckedAuthor<
      Omit<typeof base, 'gateway'> & { readonly gateway: { readonly listen: '127.0.0.1' } }
    >['gateway']['listen']
  >().toExtend<ChangeoverTypeError<"gateway.listen needs a port, such as '127.0.0.1:5000'">>();
  // @ts-expect-error gateway.listen needs a port
  defineChangeover({ ...base, gateway: { listen: '127.0.0.1' } });
});

it('the port of a unit is refused for the gateway', () => {
  // @ts-expect-error port 5002 belongs to a unit
  defineChangeover({ ...base, next: { units: [onPort5002] }, gateway: { listen: '127.0.0.1:5002' } });
  // @ts-expect-error port 5002 belongs to a unit
  defineChangeover({ ...base, next: { units: [onPort5002] }, gateway: { listen: 5002 } });
  defineChangeover({ ...base, next: { units: [onPort5002] }, gateway: { listen: 5003 } });
});

it('empty lists are type errors where something must be named', () => {
  // @ts-expect-error legacy.units is empty
  defineChangeover({ ...base, legacy: { units: [] } });
  // @ts-expect-error next.units is empty
  defineChangeover({ ...base, next: { units: [] } });
  // @ts-expect-error data is empty
  defineChangeover({ ...base, data: [] });
  // @ts-expect-error backup.paths is empty
  defineChangeover({ ...base, backup: { paths: [] } });
});

it('a name that does not exist is a type error in every section', () => {
  // @ts-expect-error a plan has no 'chekcs'
  defineChangeover({ ...base, chekcs: [] });
  // @ts-expect-error legacy has no 'unit'
  defineChangeover({ ...base, legacy: { units: [legacy], unit: legacy } });
  // @ts-expect-error next has no 'set'
  defineChangeover({ ...base, next: { units: [next], set: [] } });
  // @ts-expect-error gateway has no 'port'
  defineChangeover({ ...base, gateway: { listen: 5000, port: 5000 } });
  // @ts-expect-error backup has no 'zip'
  defineChangeover({ ...base, backup: { paths: ['data'], zip: true } });
  // @ts-expect-error cutover has no 'deadline'
  defineChangeover({ ...base, cutover: { deadline: '5s' } });
  // @ts-expect-error cutover.hold has no 'deadlin'
  defineChangeover({ ...base, cutover: { hold: { deadlin: '5s' } } });
});

it('a duration without unit, or with one that does not exist, is a type error', () => {
  // @ts-expect-error a text needs its unit
  defineChangeover({ ...base, cutover: { hold: { deadline: '5' } } });
  // @ts-expect-error 'seconds' is not a unit
  defineChangeover({ ...base, gateway: { listen: 5000, maxHeld: '5 seconds' } });
});

it('a plan put together elsewhere is taken', () => {
  expectTypeOf(defineChangeover(plan)).toEqualTypeOf<Plan>();
});
