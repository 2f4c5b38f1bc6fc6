// Judges JSON by the schemas of a Google discovery document: every field must be one that it knows, of its type and form.

const FORMS = {
  int32: (value) => Number.isInteger(value) && Math.abs(value) < 2 ** 31,
  float: Number.isFinite,
  "google-duration": (value) => /^-?[0-9]+(\.[0-9]{1,9})?s$/.test(value),
  "google-datetime": (value) => !Number.isNaN(Date.parse(value)),
};
const TYPES = {
  string: (value) => typeof value === "string",
  boolean: (value) => typeof value === "boolean",
  integer: Number.isInteger,
  number: (value) => typeof value === "number",
  array: Array.isArray,
  object: (value) => typeof value === "object" && value !== null && !Array.isArray(value),
  any: () => true,
};

/// The document writes fields in lowerCamelCase. Readers of protobuf's JSON also take a field's own name, in snake_case, and
/// FCM's reference writes it like that (protobuf.dev, "ProtoJSON format").
function camel(name) {
  return name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase());
}

/// What is wrong with a value, as texts that begin with where.
export function violations(schemas, schema, value, at = "") {
  if (schema.$ref) return violations(schemas, schemas[schema.$ref], value, at);
  if (!TYPES[schema.type](value)) return [`${at} is no ${schema.type}: ${JSON.stringify(value)}`];
  if (schema.format && !FORMS[schema.format](value)) return [`${at} is no ${schema.format}: ${value}`];
  if (schema.enum && !schema.enum.includes(value)) return [`${at} is none of ${schema.enum}: ${value}`];
  if (schema.type === "array") return value.flatMap((one, n) => violations(schemas, schema.items, one, `${at}[${n}]`));
  if (schema.type !== "object") return [];
  return Object.entries(value).flatMap(([name, inner]) => {
    const known = schema.properties?.[camel(name)] ?? schema.additionalProperties;
    return known ? violations(schemas, known, inner, `${at}.${name}`) : [`${at}.${name} is no field`];
  });
}
