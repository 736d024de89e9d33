// What an answer has under a name that people chose: a crop may be called "constructor", which every object has by inheritance.

/** Return what an object itself has under a name; undefined where it has nothing, or is none. */
export const own = (object, name) => (object && Object.hasOwn(object, name) ? object[name] : undefined);
