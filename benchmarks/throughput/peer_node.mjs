// Write texts with node-llama-cpp, many sequences in one batch; run by `peers`.
// Arguments: folder with node_modules, model file, work file, sequences, threads.
import fs from "node:fs";
import {createRequire} from "node:module";
import {join} from "node:path";
import {pathToFileURL} from "node:url";

const [folder, modelPath, workFile, width, threadCount] = process.argv.slice(2);
const found = createRequire(join(folder, "package.json")).resolve("node-llama-cpp");
const {getLlama, LlamaCompletion} = await import(pathToFileURL(found).href);

const work = JSON.parse(fs.readFileSync(workFile, "utf8"));
const [sequences, threads] = [Number(width), Number(threadCount)];
const llama = await getLlama({gpu: false, build: "never", maxThreads: threads, logLevel: "error"});
const model = await llama.loadModel({modelPath, gpuLayers: 0});
const context = await model.createContext({
    sequences, contextSize: 1024, batchSize: 512, threads
});
const writers = Array.from({length: sequences}, () => (
    new LlamaCompletion({contextSequence: context.getSequence()})
));

async function write(prompts) {
    const queue = [...prompts];
    let tokens = 0;
    await Promise.all(writers.map(async writer => {
        while (queue.length) {
            await writer.generateCompletion(queue.shift(), {
                maxTokens: work.tokens, temperature: 0.9, topP: 0.95, topK: 1000,
                onToken: chunk => { tokens += chunk.length; }
            });
        }
    }));
    return tokens;
}

await write(work.prompts.slice(0, sequences));
const start = performance.now();
const tokens = await write(work.prompts);
console.log(JSON.stringify({tokens, seconds: (performance.now() - start) / 1000}));
process.exit(0);
