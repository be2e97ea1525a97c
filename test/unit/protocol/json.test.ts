import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { canonicalJson, parseJson, utf8 } from "../../../src/protocol/json.ts";
import { MAX_JSON_DEPTH } from "../../../src/protocol/limits.ts";
import { HEAVY_TEST_TIMEOUT_MS } from "../crypto/people.ts";
import { jcs, unhex, type Value } from "../crypto/reference.ts";

vi.setConfig({ testTimeout: HEAVY_TEST_TIMEOUT_MS });

const fault = (input: string | Uint8Array) => {
  const parsed = parseJson(input);
  return parsed.ok ? "accepted" : parsed.error;
};
const nested = (levels: number, open = "[", close = "]", inner = "") =>
  `${open.repeat(levels)}${inner}${close.repeat(levels)}`;

describe("parseJson reads what JSON.parse reads", () => {
  test.each([
    "{}",
    "[]",
    '""',
    "null",
    " \t\r\n true ",
    "-0",
    "-0.0e-0",
    "1.5e-300",
    "9007199254740991",
    "-9007199254740991",
    "9007199254740991.0",
    "0.1",
    '{"a":{"a":1},"b":[{"a":2},{"a":3}]}',
    '{"a":"{\\"a\\":1,\\"a\\":2}"}',
    '["a","a",{"a":"a"}]',
    '{"\\\\":1,"\\\\\\\\":2,"\\"":3}',
    '"\\ud83d\\ude00 😀"',
    '{"":{"":[]}}',
    '{"a":[],"b":{},"c":[[]],"d":"]}"}',
    '{"constructor":1,"toString":2,"hasOwnProperty":3}',
  ])("%s", (text) => {
    expect(parseJson(text)).toEqual({ ok: true, value: JSON.parse(text) });
    expect(parseJson(utf8(text))).toEqual({ ok: true, value: JSON.parse(text) });
  });

  test("any value that JSON.stringify wrote, unless a number in it is too large", () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 5 }), (text) => {
        const parsed = parseJson(text);
        if (parsed.ok) expect(parsed.value).toEqual(JSON.parse(text));
        else expect(parsed.error).toMatch(/^(unsafe_number|reserved_name)$/);
      }),
    );
  });

  test(`nesting of exactly ${MAX_JSON_DEPTH} levels`, () => {
    expect(fault(nested(MAX_JSON_DEPTH))).toBe("accepted");
    expect(fault(nested(MAX_JSON_DEPTH, '{"a":', "}", "1"))).toBe("accepted");
  });

  test("many siblings are no nesting", () => {
    expect(fault(`[${"[],{},".repeat(1_000)}[]]`)).toBe("accepted");
  });
});

describe("parseJson refuses two members of one name", () => {
  test.each([
    ["side by side", '{"a":1,"a":1}'],
    ["with others between", '{"a":1,"b":2,"c":[{}],"a":3}'],
    ["the second spelled with an escape", '{"a":1,"\\u0061":2}'],
    ["the first spelled with an escape", '{"\\u0061":1,"a":2}'],
    ["escapes of either case", '{"\\u00e9":1,"\\u00E9":2}'],
    ["a short and a long escape", '{"\\n":1,"\\u000a":2}'],
    ["an escaped slash", '{"/":1,"\\/":2}'],
    ["a surrogate pair, raw and escaped", '{"😀":1,"\\ud83d\\ude00":2}'],
    ["empty names", '{"":1,"":2}'],
    ["deep inside an array", '[1,{"x":[{"a":1,"a":2}]}]'],
    ["after a nested object that has the name too", '{"a":{"a":1},"a":2}'],
    ["after a nested array", '{"a":[1,2],"b":0,"a":2}'],
    ["with whitespace around", '{ "a" : 1 , "a" : 1 }'],
    ["after a string that looks like structure", '{"a":"\\\\\\"}]","a":1}'],
  ])("%s", (_name, text) => {
    expect(() => JSON.parse(text)).not.toThrow();
    expect(fault(text)).toBe("duplicate_name");
    expect(fault(utf8(text))).toBe("duplicate_name");
  });
});

describe("parseJson refuses", () => {
  test.each([
    ["a lone high surrogate, escaped", '"\\ud800"'],
    ["a lone low surrogate, escaped", '"\\udfff"'],
    ["a pair in the wrong order", '"\\ude00\\ud83d"'],
    ["a high surrogate before an ordinary letter", '"\\ud83dx"'],
    ["a lone surrogate in a name", '{"\\ud800":1}'],
    ["a lone surrogate in a name's value", '{"a":["\\udc00"]}'],
    ["a lone surrogate as it stands in a string", '"\ud800"'],
    ["half of a pair escaped, the other as it stands", '"\\ud83d\ude00"'],
  ])("%s", (_name, text) => expect(fault(text)).toBe("lone_surrogate"));

  test.each([
    "9007199254740992",
    "-9007199254740992",
    "9007199254740993",
    "9007199254740992.0",
    "9007199254740991.9",
    "1e16",
    "1E+400",
    "1e400",
    "-1e400",
    "123456789012345678901234567890",
    '{"a":[0,1,1e30]}',
  ])("the number %s", (text) => expect(fault(text)).toBe("unsafe_number"));

  test("digits that are too large only inside a string are no number", () => {
    expect(fault('"1e400 9007199254740993"')).toBe("accepted");
  });

  test.each([
    ["on top", '{"__proto__":{"admin":true}}'],
    ["in an array", '[{"a":1,"__proto__":null}]'],
    ["spelled with an escape", '{"__proto\\u005f_":1}'],
  ])("the name __proto__ %s, which schemas would drop in silence", (_name, text) => {
    expect(fault(text)).toBe("reserved_name");
  });

  test.each(['{"a":"__proto__"}', '["a","__proto__"]', '[{"a":1},"__proto__"]', '"__proto__"'])(
    "not the value __proto__: %s",
    (text) => expect(fault(text)).toBe("accepted"),
  );

  test("deeper nesting, by one and by a hundred thousand", () => {
    expect(fault(nested(MAX_JSON_DEPTH + 1))).toBe("too_deep");
    expect(fault(nested(MAX_JSON_DEPTH + 1, '{"a":', "}", "1"))).toBe("too_deep");
    expect(fault(nested(100_000))).toMatch(/^(too_deep|not_json)$/);
  });

  test.each([
    ["nothing", ""],
    ["whitespace", " \n"],
    ["a second value", "{} {}"],
    ["something after the value", "{}x"],
    ["a NUL after the value", "{}\0"],
    ["a byte order mark", "\ufeff{}"],
    ["a trailing comma in an array", "[1,]"],
    ["a trailing comma in an object", '{"a":1,}'],
    ["a missing comma", '{"a":1"b":2}'],
    ["single quotes", "{'a':1}"],
    ["a name without quotes", "{a:1}"],
    ["a comment", "{}//"],
    ["a leading zero", "01"],
    ["a plus sign", "+1"],
    ["a bare point", "1."],
    ["NaN", "NaN"],
    ["Infinity", "-Infinity"],
    ["hexadecimal", "0x10"],
    ["a raw line feed in a string", '"a\nb"'],
    ["an unknown escape", '"\\x41"'],
    ["an unfinished escape", '"\\u12"'],
    ["an unfinished string", '"abc'],
    ["an unfinished object", '{"a":1'],
    ["a capital literal", "True"],
    ["a no-break space around a value", "\u00a0{}"],
  ])("%s", (_name, text) => {
    expect(fault(text)).toBe("not_json");
    expect(fault(utf8(text))).toBe("not_json");
  });

  test.each([
    ["a stray byte", "22ff22"],
    ["a surrogate encoded as UTF-8", "22eda08022"],
    ["an overlong NUL", "22c08022"],
    ["a cut-off letter", "22e282"],
    ["a letter beyond U+10FFFF", "22f490808022"],
    ["UTF-16", "fffe7b007d00"],
  ])("bytes that are not UTF-8: %s", (_name, digits) => expect(fault(unhex(digits))).toBe("not_utf8"));

  test("what stands before padding as what stands without, and padding of no JSON's white space", () => {
    const padding = " \t\r\n".repeat(1_000);
    expect(fault(`{"a":1}${padding}`)).toBe("accepted");
    expect(fault(`{"a":1,"a":2}${padding}`)).toBe("duplicate_name");
    expect(fault(`9007199254740993${padding}`)).toBe("unsafe_number");
    for (const space of ["\u00a0", "\u2028", "\ufeff", "\f", "\v", "\0"])
      expect(fault(`{"a":1}${space}`)).toBe("not_json");
  });

  test("a byte order mark in bytes", () => expect(fault(unhex("efbbbf7b7d"))).toBe("not_json"));
});

test("parseJson takes a time that grows with the length, not with its square", () => {
  const members = (count: number) =>
    `{${Array.from({ length: count }, (_, at) => `"${at}":${at}`).join(",")}}`;
  const text = members(50_000);
  const started = performance.now();
  expect(fault(text)).toBe("accepted");
  expect(performance.now() - started).toBeLessThan(10_000);
});

// RFC 8785: the samples of §3.2.2 to §3.2.4 and the table of appendix B.
describe("canonicalJson gives the published samples of RFC 8785", () => {
  const escapes = String.raw`{
    "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
    "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
    "literals": [null, true, false]
  }`;

  test("§3.2.2: serialisation of primitive types", () => {
    expect(canonicalJson(JSON.parse(escapes))).toBe(
      String.raw`{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}`,
    );
  });

  test("§3.2.2's 1E30 has a canonical form, but as an integer beyond 2^53 it is refused on the wire", () => {
    expect(fault(escapes)).toBe("unsafe_number");
  });

  test("§3.2.3: sorting by UTF-16 code units", () => {
    const value = JSON.parse(String.raw`{
      "\u20ac": "Euro Sign",
      "\r": "Carriage Return",
      "\ufb33": "Hebrew Letter Dalet With Dagesh",
      "1": "One",
      "\ud83d\ude00": "Emoji: Grinning Face",
      "\u0080": "Control",
      "\u00f6": "Latin Small Letter O With Diaeresis"
    }`);
    expect(Object.values(JSON.parse(canonicalJson(value).replace('"1":', '"\\u00001":')))).toEqual([
      "Carriage Return",
      "One",
      "Control",
      "Latin Small Letter O With Diaeresis",
      "Euro Sign",
      "Emoji: Grinning Face",
      "Hebrew Letter Dalet With Dagesh",
    ]);
  });

  test("§3.2.4: UTF-8", () => {
    const bytes = unhex(
      "7b226c69746572616c73223a5b6e756c6c2c747275652c66616c73655d2c226e756d62657273223a5b3333333333333333332e" +
        "333333333333332c31652b33302c342e352c302e3030322c31652d32375d2c22737472696e67223a22e282ac245c7530303066" +
        "5c6e4127425c225c5c5c5c5c222f227d",
    );
    expect(utf8(canonicalJson(JSON.parse(escapes)))).toEqual(bytes);
  });

  test.each([
    ["0000000000000000", "0"],
    ["8000000000000000", "0"],
    ["0000000000000001", "5e-324"],
    ["8000000000000001", "-5e-324"],
    ["7fefffffffffffff", "1.7976931348623157e+308"],
    ["ffefffffffffffff", "-1.7976931348623157e+308"],
    ["4340000000000000", "9007199254740992"],
    ["c340000000000000", "-9007199254740992"],
    ["4430000000000000", "295147905179352830000"],
    ["44b52d02c7e14af5", "9.999999999999997e+22"],
    ["44b52d02c7e14af6", "1e+23"],
    ["44b52d02c7e14af7", "1.0000000000000001e+23"],
    ["444b1ae4d6e2ef4e", "999999999999999700000"],
    ["444b1ae4d6e2ef4f", "999999999999999900000"],
    ["444b1ae4d6e2ef50", "1e+21"],
    ["3eb0c6f7a0b5ed8c", "9.999999999999997e-7"],
    ["3eb0c6f7a0b5ed8d", "0.000001"],
    ["41b3de4355555553", "333333333.3333332"],
    ["41b3de4355555554", "333333333.33333325"],
    ["41b3de4355555555", "333333333.3333333"],
    ["41b3de4355555556", "333333333.3333334"],
    ["41b3de4355555557", "333333333.33333343"],
    ["becbf647612f3696", "-0.0000033333333333333333"],
    ["43143ff3c1cb0959", "1424953923781206.2"],
  ])("appendix B: the double %s is %s", (bits, expected) => {
    expect(canonicalJson(new DataView(unhex(bits).buffer as ArrayBuffer).getFloat64(0))).toBe(expected);
  });

  test.each(["7fffffffffffffff", "7ff0000000000000", "fff0000000000000"])(
    "appendix B: %s, not a number or infinite, is an error",
    (bits) => {
      const number = new DataView(unhex(bits).buffer as ArrayBuffer).getFloat64(0);
      expect(() => canonicalJson([number])).toThrow();
    },
  );
});

describe("canonicalJson", () => {
  test("is what an independent implementation writes, for any value", () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 4, stringUnit: "binary" }), (value) => {
        expect(canonicalJson(value)).toBe(jcs(value as Value));
      }),
    );
  });

  test("does not depend on the order in which members were written, and does not change on a second pass", () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string({ unit: "grapheme" }), fc.jsonValue()), (members) => {
        const canonical = canonicalJson(members);
        expect(canonicalJson(Object.fromEntries(Object.entries(members).reverse()))).toBe(canonical);
        expect(canonicalJson(JSON.parse(canonical))).toBe(canonical);
      }),
    );
  });

  test("leaves out members that are undefined, and keeps null", () => {
    expect(canonicalJson({ b: undefined, a: null })).toBe('{"a":null}');
  });

  test("throws for a lone surrogate, in a value and in a name", () => {
    expect(() => canonicalJson("\ud800")).toThrow();
    expect(() => canonicalJson({ "\udc00": 1 })).toThrow();
  });

  test.each([undefined, () => 1, Symbol("a")])("throws for %s, which has no JSON form", (value) => {
    expect(() => canonicalJson(value)).toThrow(TypeError);
  });
});
