// The output of a user's own program under a launcher: nothing of it is dropped; while its reader pauses, the
// program waits, and the launcher still hears signals.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <thread>

#include "launch/launcher/child_process.h"
#include "launch/line_writer.h"

namespace thinwire::launch {

inline LineWriter& writer_of(Stream stream) {
  return stream == Stream::kOut ? standard_output() : standard_error();
}

inline void relay(Stream stream, std::string_view line) {
  writer_of(stream).write(std::string(line) + "\n", LineWriter::Kind::kKept);
}

// False, after a moment, while nothing more should be read from the program.
inline bool reader_keeps_up() {
  if (standard_output().has_room() && standard_error().has_room()) return true;
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  return false;
}

}  // namespace thinwire::launch
