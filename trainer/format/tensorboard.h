// TensorBoard event files, written by hand: TFRecord framing (masked CRC-32C) around Event protobufs with
// scalar summaries. TensorBoard itself reads them.
//
//   record: length uint64 | masked CRC of the length uint32 | Event | masked CRC of the Event uint32
//   little-endian
#pragma once

#include <cstdint>
#include <string>

#include "trainer/format/file_io.h"

namespace thinwire::trainer {

// One thread at a time per object. A write that fails (a full disk) drops the scalars of that flush, clears
// ok() for good, and the run goes on; a record is never left half written.
class TensorboardWriter {
 public:
  // Makes the folder where there is none, and in it events.out.tfevents.<time>.<host>.<process>, which sorts
  // after the event files there: TensorBoard reads them in this order, and lets a resumed run replace the
  // scalars of its first step and later ones. Throws std::system_error if the file cannot be made.
  explicit TensorboardWriter(const std::string& dir);
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
  bool started_ = false;
  bool ok_ = true;
};

}  // namespace thinwire::trainer
