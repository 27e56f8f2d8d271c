// Tensors in safetensors files, read and written by hand: no C++ library for it is packaged. Files are
// foreign input: nothing is allocated before the header (safetensors_header.h) has been checked against the
// file's size.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <map>
#include <string>

#include "trainer/format/file_io.h"
#include "trainer/format/safetensors_header.h"

namespace thinwire::trainer {

using NamedTensors = std::map<std::string, at::Tensor>;

struct SafetensorsFile {
  NamedTensors tensors;                         // CPU, own memory, 64-byte aligned
  std::map<std::string, std::string> metadata;  // __metadata__
};

// Throws std::runtime_error with the file's name, what was expected and what was found; std::system_error if
// the file cannot be read. Booleans other than 0 and 1 are refused.
SafetensorsFile read_safetensors(const std::string& path);

// What a file of these tensors says of them. Throws as write_safetensors for a dtype that the format lacks.
std::map<std::string, TensorSpec> specs_of(const NamedTensors& tensors);

// The header alone, checked in the same way; no tensor is read.
SafetensorsHeader read_safetensors_header(const std::string& path);

// Writes a new file, syncs it and returns what a reader must find. Tensors of any device and layout; dtypes
// as in safetensors_header.h. Equal tensors and metadata give equal bytes. Throws std::system_error with the
// errno of what failed (ENOSPC when the disk is full) and leaves the torn file to the caller;
// std::runtime_error for tensors that the format cannot hold. half_written: called when half of the file's
// bytes have been written, so that tests can break off there.
FileDigest write_safetensors(const std::string& path, const SafetensorsFile& file,
                             const std::function<void()>& half_written = nullptr);
// The same into a file that the caller has opened, and syncs.
void write_safetensors(OutputFile& output, const SafetensorsFile& file);

}  // namespace thinwire::trainer
