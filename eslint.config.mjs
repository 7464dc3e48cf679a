import js from "@eslint/js";

const NEEDS_A_SERVER = "A page that is opened from disk can load classic scripts only.";

export default [
  {
    ignores: [
      "_extra/explorer/{decoder,encoder,digits,*-2d}.js",
      "_extra/toys/posteriors.js",
      "_extra/trainer/{*_digits,step_binary}.js",
    ],
  },
  js.configs.recommended,
  {
    files: ["_extra/trainer/build.mjs"], // a program for node
    languageOptions: { globals: { Buffer: "readonly", process: "readonly" } },
  },
  {
    files: ["_extra/**/*.js", "cvae_lib/**/*.js"],
    rules: {
      "no-undef": "off", // tsc knows what the other files define
      "prefer-const": "error",
      eqeqeq: "error",
    },
  },
  {
    files: ["_extra/**/*.js", "**/explorer/*.js"],
    // Classic scripts, which share one scope: what a file defines at its top level is used by the files after it.
    languageOptions: { sourceType: "script" },
    rules: {
      "no-unused-vars": ["error", { vars: "local" }],
      "no-implicit-globals": "error",
      "no-restricted-syntax": ["error", { selector: "ImportExpression", message: NEEDS_A_SERVER }],
      "no-restricted-globals": ["error", { name: "fetch", message: NEEDS_A_SERVER }],
      strict: ["error", "global"],
    },
  },
];
