// Headers of safetensors files, of any text and any claimed amount of data behind it.
#include <stdexcept>

#include "tests/fuzz/input.h"
#include "trainer/format/safetensors_header.h"

namespace thinwire::fuzz {

// Lengths of data that fit the texts, and one that does not.
std::vector<std::string> seeds() {
  constexpr const char* kTexts[] = {
      R"({})", R"({"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}})",
      R"({"__metadata__":{"k":"v"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
      R"("b":{"dtype":"BOOL","shape":[2],"data_offsets":[24,26]},"c":{"dtype":"U8","shape":[0],)"
      R"("data_offsets":[26,26]}}   )"};
  std::vector<std::string> all;
  for (const char* text : kTexts) {
    for (const std::uint64_t data_bytes : {0, 24, 26}) {
      all.push_back(Seed().put(data_bytes).text() + text);
    }
  }
  return all;
}

}  // namespace thinwire::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace thinwire;
  fuzz::Input input(data, size);
  const auto data_bytes = input.take<std::uint64_t>();
  try {
    trainer::SafetensorsHeader header = trainer::parse_safetensors_header(input.rest_as_text(), data_bytes);
    std::uint64_t covered = 0;
    for (const trainer::SafetensorsEntry& entry : header.entries) {
      fuzz::require(entry.begin == covered && entry.end >= covered, "tensors cover the data once, in order");
      covered = entry.end;
    }
    fuzz::require(covered == data_bytes, "tensors cover all of the data");
    const std::string again = trainer::layout_safetensors(header);
    trainer::parse_safetensors_header(again.substr(8), header.data_bytes);
  } catch (const std::runtime_error&) {
  }
  return 0;
}
