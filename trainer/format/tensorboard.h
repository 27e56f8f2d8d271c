// TensorBoard event files, written by hand: TFRecord framing (masked CRC-32C) around Event protobufs with
// scalar summaries. TensorBoard itself reads them.
//
//   record: length uint64 | masked CRC of the length uint32 | Event | masked CRC of the Event uint32
//   little-endian
#pragma once

#include <cstdint>
#include <set>
#include <string>

#include "trainer/format/file_io.h"

namespace thinwire::trainer {

// One thread at a time per object. A write that fails (a full disk) drops the scalars of that flush, clears
// ok() for good, and the run goes on; a record is never left half written.
class TensorboardWriter {
 public:
  // Makes the folder where there is none, and in it events.out.tfevents.<time>.<host>.<process>, which sorts
  // after the event files there: TensorBoard reads them in this order. Its session starts at first_step, the
  // first that scalars may have; older files should hold none from there on (cut_event_files). Throws
  // std::system_error if the file cannot be made.
  TensorboardWriter(const std::string& dir, std::int64_t first_step);
  // Flushes.
  ~TensorboardWriter();
  TensorboardWriter(const TensorboardWriter&) = delete;
  TensorboardWriter& operator=(const TensorboardWriter&) = delete;

  // Stored as float32; NaN and infinities are legal. Kept in memory until a flush or 64 KiB of them.
  void scalar(const std::string& tag, double value, std::int64_t step);
  void flush();
  bool ok() const { return ok_; }

 private:
  AppendFile file_;
  std::string pending_;  // whole records
  bool ok_ = true;
};

// Leaves in the event files of a folder what is of steps up to keep_through: one of TensorBoard's readers
// never drops a point, so a resumed run may not write a step that is still there. What is torn or damaged
// goes too, since half of the readers stop at it. Other files, and a folder that is not there, are left
// alone. Returns the tags that have a point at keep_through.
std::set<std::string> cut_event_files(const std::string& dir, std::int64_t keep_through);

}  // namespace thinwire::trainer
