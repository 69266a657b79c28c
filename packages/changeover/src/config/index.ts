export { settings } from './settings.ts';
export type { Settings } from './settings.ts';
export { dotenv, environment, iniFile, jsonFile, pythonModule, tomlFile, yamlFile } from './sources.ts';
export type { FileOptions } from './sources.ts';
export type { Constant, DropRule, KeepRule, MoveRule, Rule, SettingsDefinition } from './rules.ts';
export type { Inverted } from './invert.ts';
export type { SettingsFile, SettingsSource } from './source.ts';
export type { Unit, ValueType } from './values.ts';
