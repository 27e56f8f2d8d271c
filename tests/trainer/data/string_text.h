// Text in memory, for tests.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

#include "trainer/data/text.h"

namespace thinwire::test {

class StringText final : public trainer::Text {
 public:
  explicit StringText(std::string text) : text_(std::move(text)) {}
  std::uint64_t size() const override { return text_.size(); }
  void read(std::uint64_t offset, char* into, std::size_t n) const override {
    if (offset > text_.size() || n > text_.size() - offset) throw std::out_of_range("past the end of a text");
    text_.copy(into, n, offset);
  }

 private:
  std::string text_;
};

}  // namespace thinwire::test
