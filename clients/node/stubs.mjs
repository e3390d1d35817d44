// Generates the TypeScript stubs from the descriptor set of the protos: node stubs.mjs DESCRIPTOR_SET FOLDER.
// It asks the plugin that package.json pins, as protoc would, so that no protoc is needed.
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  CodeGeneratorRequestSchema,
  CodeGeneratorResponseSchema,
  FileDescriptorSetSchema,
} from "@bufbuild/protobuf/wkt";

const [descriptorSet, folder] = process.argv.slice(2);
const { file: protoFile } = fromBinary(FileDescriptorSetSchema, readFileSync(descriptorSet));
const fileToGenerate = protoFile.map((file) => file.name).filter((name) => !name.startsWith("google/protobuf/"));
const request = create(CodeGeneratorRequestSchema, {
  fileToGenerate,
  protoFile,
  parameter: "target=ts,import_extension=js",
});
const plugin = spawnSync(process.execPath, ["node_modules/@bufbuild/protoc-gen-es/bin/protoc-gen-es"], {
  input: toBinary(CodeGeneratorRequestSchema, request),
  stdio: ["pipe", "pipe", "inherit"],
  maxBuffer: 64 << 20,
});
const response = fromBinary(CodeGeneratorResponseSchema, plugin.stdout);
if (plugin.status !== 0 || response.error) throw new Error(response.error || `the plugin ended with ${plugin.status}`);
rmSync(folder, { recursive: true, force: true });
for (const { name, content } of response.file) {
  mkdirSync(dirname(join(folder, name)), { recursive: true });
  writeFileSync(join(folder, name), content);
}
