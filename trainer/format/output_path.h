// A path at which a user wants a file. Only a plain file or nothing may stand there: a pipe, a device, a
// socket or a folder is refused before any work is done, and never replaced.
#pragma once

#include <functional>
#include <string>

#include "trainer/format/file_io.h"

namespace thinwire::trainer {

class OutputPath {
 public:
  // "-", /dev/stdout and its other names mean standard output. A symbolic link is followed: what it points to
  // is written, and the link stays. Throws std::invalid_argument that names the path and says what stands
  // there, or that its folder is not there or may not be written to. Writes nothing.
  explicit OutputPath(const std::string& path);

  bool is_stream() const { return target_.empty(); }
  // Where the bytes go, all links followed; empty for standard output.
  const std::string& target() const { return target_; }

  // Calls `body` to write the file, beside its place (TARGET.<process>.tmp), and then puts it there at once,
  // durable. Whatever fails, what stood there stays as it was and nothing is left beside it.
  void write(const std::function<void(OutputFile&)>& body) const;

 private:
  std::string target_;
};

}  // namespace thinwire::trainer
