// TensorBoard event files, written by hand: TFRecord framing (masked CRC-32C) around Event protobufs with scalar
// summaries. TensorBoard itself reads them.
#pragma once

#include <cstdint>
#include <string>

namespace thinwire::trainer {

class TensorboardWriter {
 public:
  // Creates dir/events.out.tfevents.<time>.<host>.<unique>. A later writer in the same folder goes on after it.
  explicit TensorboardWriter(const std::string& dir);
  ~TensorboardWriter();
  TensorboardWriter(const TensorboardWriter&) = delete;
  TensorboardWriter& operator=(const TensorboardWriter&) = delete;

  void scalar(const std::string& tag, double value, std::int64_t step);
  void flush();

 private:
  int fd_;
  std::string pending_;
};

}  // namespace thinwire::trainer
