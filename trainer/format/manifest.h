// The manifest of a checkpoint: a JSON text that names the checkpoint's files with their sizes and hashes,
// says of each tensor what it is, carries what is not a tensor, and holds a hash of itself. There is one text
// for one content, so any changed byte of it is found.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "trainer/format/file_io.h"
#include "trainer/format/safetensors_header.h"

namespace thinwire::trainer {

struct Manifest {
  std::int64_t step = 0;
  int worker = 0;
  std::map<std::string, FileDigest> files;  // plain names, beside the manifest
  nlohmann::json meta = nlohmann::json::object();
  std::map<std::string, TensorSpec> tensors;  // of all files, as the state held them
};

// Integers of 64 bits and doubles come back exactly; NaN and infinities, which JSON lacks, too.
// Throws std::runtime_error for strings that are not UTF-8.
std::string to_text(const Manifest& manifest);

// Throws std::runtime_error that says what was expected and found, for every text that to_text does not
// write.
Manifest parse_manifest(const std::string& text);

// Throws std::runtime_error that names the tensor, if the file whose header this is does not hold exactly the
// manifest's tensors, each with its dtype and shape.
void require_tensors(const Manifest& manifest, const SafetensorsHeader& header);

}  // namespace thinwire::trainer
