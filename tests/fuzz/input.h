// What every fuzz target is made of: the bytes of one input taken piece by piece, and checks that end the
// process, which is how a fuzzer and the replay see a failure.
//
// A target is a source that defines LLVMFuzzerTestOneInput and seeds(). It is linked twice: with libFuzzer
// (`make fuzz`), and with replay.cpp, which the ordinary tests run.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace thinwire::fuzz {

// Inputs that reach deep at once: good ones of each kind. The same on every call.
std::vector<std::string> seeds();

// Past its end an input goes on with zeros.
class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : rest_(reinterpret_cast<const std::byte*>(data), size) {}

  template <class T>
  T take() {
    static_assert(std::is_trivially_copyable_v<T>);
    T value{};
    const auto bytes = take_span(sizeof value);
    if (!bytes.empty()) std::memcpy(&value, bytes.data(), bytes.size());
    return value;
  }
  // In [0, bound), bound > 0.
  std::size_t take_below(std::size_t bound) { return take<std::uint16_t>() % bound; }
  // At most n bytes.
  std::span<const std::byte> take_span(std::size_t n) {
    const auto part = rest_.first(std::min(n, rest_.size()));
    rest_ = rest_.subspan(part.size());
    return part;
  }
  // Exactly n bytes in an allocation of their own, so that a read past them is seen.
  std::vector<std::byte> take_bytes(std::size_t n) {
    const auto part = take_span(n);
    std::vector<std::byte> bytes(n);
    std::copy(part.begin(), part.end(), bytes.begin());
    return bytes;
  }
  std::span<const std::byte> rest() const { return rest_; }
  std::string rest_as_text() const { return {reinterpret_cast<const char*>(rest_.data()), rest_.size()}; }

 private:
  std::span<const std::byte> rest_;
};

// Writes what Input takes.
class Seed {
 public:
  template <class T>
  Seed& put(T value) {
    static_assert(std::is_trivially_copyable_v<T>);
    text_.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  Seed& put_bytes(std::span<const std::byte> bytes) {
    text_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return *this;
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

// `holds` is a promise of the code under test.
inline void require(bool holds, const char* promise) {
  if (holds) return;
  std::fprintf(stderr, "fuzz: broken promise: %s\n", promise);
  std::abort();
}

}  // namespace thinwire::fuzz
