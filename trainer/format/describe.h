// What a file or folder of ours holds, for people and programs to read (`thinwire inspect`).
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace thinwire::trainer {

// An object with "kind", "path" and, by kind:
//   safetensors   bytes, values, metadata, tensors: [{name, dtype, shape, bytes}]
//   checkpoint    (a worker's folder) step, worker, whole, meta, files: {name: {bytes, xxh3_128}}, tensors
//   step          (a step's folder) step, workers: [checkpoint without tensors]
//   run           config (text), last_step (null before the first record), summary (null before the end),
//                 checkpoints: [{step, worker, whole, problems: [{file, what}]}]
//   wire message  step, fragment, worker, leg, codec, block, rounding, values, payload_bytes, state_digest
// Checkpoints are read to their last byte. What is no file or folder of ours, or a damaged one, throws
// std::runtime_error that says what was expected and found. Files are foreign input, as everywhere.
nlohmann::json describe(const std::string& path);

}  // namespace thinwire::trainer
