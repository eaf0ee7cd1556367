// JSON merge patches (RFC 7396), in place.

const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

export function patch(target, changes) {
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) delete target[name];
    else if (isObject(value)) target[name] = patch(isObject(target[name]) ? target[name] : {}, value);
    else target[name] = value;
  }
  return target;
}
