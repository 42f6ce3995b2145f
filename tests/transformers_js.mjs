// Tell the tokens and the labels of texts with a student folder in transformers.js: node transformers_js.mjs MODULES FOLDER DTYPE TEXT...
import {createRequire} from "node:module";
import {basename, dirname, join} from "node:path";
import {pathToFileURL} from "node:url";

const [modules, folder, dtype, ...texts] = process.argv.slice(2);
const found = createRequire(join(modules, "package.json")).resolve("@huggingface/transformers");
const {env, pipeline} = await import(pathToFileURL(found).href);
env.allowRemoteModels = false;
env.localModelPath = dirname(folder) + "/";
const classify = await pipeline("text-classification", basename(folder), {dtype, device: "cpu"});
console.log(JSON.stringify(texts.map(text => classify.tokenizer.encode(text))));
const answers = await classify(texts);
console.log(JSON.stringify(answers.map(answer => answer.label)));
