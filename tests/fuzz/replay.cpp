// Runs a fuzz target without a fuzzer: over its seeds, every truncation of them, some thousand mutations by a
// fixed generator, and files of inputs that once failed. A failure ends the process, and the input is left
// beside it.
//
//   replay_NAME [--mutations N] [FILE or FOLDER ...]   run all of that
//   replay_NAME --write FOLDER                         write the seeds, for libFuzzer to start from
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <stdexcept>

#include "tests/fuzz/input.h"

namespace thinwire::fuzz {
namespace {

namespace fs = std::filesystem;

void run(const std::string& input) {
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(input.data()), input.size());
}

// One to four changes: a bit, a byte, a number that sits on a border, bytes taken out or doubled.
std::string mutated(std::string input, std::mt19937_64& random) {
  constexpr std::uint64_t kBorders[] = {0, 1, 0x7f, 0xff, 0x7fff'ffff, 0xffff'ffff, 1ull << 63, ~0ull};
  for (auto changes = 1 + random() % 4; changes > 0 && !input.empty(); --changes) {
    const std::size_t at = random() % input.size();
    const std::size_t length = std::min<std::size_t>(1 + random() % 16, input.size() - at);
    switch (random() % 5) {
      case 0:
        input[at] = static_cast<char>(input[at] ^ 1 << random() % 8);
        break;
      case 1:
        input[at] = static_cast<char>(random());
        break;
      case 2: {
        const std::uint64_t number = kBorders[random() % std::size(kBorders)];
        std::memcpy(input.data() + at, &number, std::min<std::size_t>(8, input.size() - at));
        break;
      }
      case 3:
        input.erase(at, length);
        break;
      default:
        input.insert(at, input.substr(at, length));
    }
  }
  return input;
}

// Kept where a signal's handler finds it: the input under test.
const std::string* current = nullptr;

extern "C" void leave_input(int signal) {
  std::signal(signal, SIG_DFL);
  if (std::FILE* file = std::fopen("fuzz_input", "wb"); file != nullptr && current != nullptr) {
    std::fwrite(current->data(), 1, current->size(), file);
    std::fclose(file);
    std::fputs("the input is in ./fuzz_input\n", stderr);
  }
  std::raise(signal);
}

void replay(const std::vector<std::string>& inputs) {
  for (const std::string& input : inputs) {
    current = &input;
    run(input);
  }
}

std::vector<std::string> truncations(const std::vector<std::string>& inputs) {
  std::vector<std::string> all;
  for (const std::string& input : inputs) {
    for (std::size_t length = 0; length < std::min<std::size_t>(input.size(), 512); ++length) {
      all.push_back(input.substr(0, length));
    }
  }
  return all;
}

std::vector<std::string> mutations(const std::vector<std::string>& inputs, std::size_t count) {
  std::mt19937_64 random(4);
  std::vector<std::string> all;
  while (all.size() < count) all.push_back(mutated(inputs[all.size() % inputs.size()], random));
  return all;
}

std::string read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot read " + path.string());
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<std::string> read_inputs(const fs::path& path) {
  if (!fs::is_directory(path)) return {read_file(path)};
  std::vector<std::string> inputs;
  for (const auto& entry : fs::directory_iterator(path)) inputs.push_back(read_file(entry.path()));
  return inputs;
}

void write_seeds(const fs::path& folder) {
  fs::create_directories(folder);
  int number = 0;
  for (const std::string& seed : seeds()) {
    std::ofstream file(folder / ("seed-" + std::to_string(number++)), std::ios::binary);
    if (!file.write(seed.data(), static_cast<std::streamsize>(seed.size()))) {
      throw std::runtime_error("cannot write into " + folder.string());
    }
  }
}

int main_of(std::span<char*> words) {
  if (words.size() == 2 && words[0] == std::string("--write")) {
    write_seeds(words[1]);
    return 0;
  }
  std::size_t count = 3000;
  if (words.size() >= 2 && words[0] == std::string("--mutations")) {
    count = std::stoul(words[1]);
    words = words.subspan(2);
  }
  std::signal(SIGABRT, leave_input);
  std::signal(SIGSEGV, leave_input);
  const std::vector<std::string> good = seeds();
  replay(good);
  replay(truncations(good));
  replay(mutations(good, count));
  for (const char* path : words) replay(read_inputs(path));
  return 0;
}

}  // namespace
}  // namespace thinwire::fuzz

int main(int argc, char** argv) {
  try {
    return thinwire::fuzz::main_of(std::span(argv, static_cast<std::size_t>(argc)).subspan(1));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "replay: an exception left the target: %s\n", error.what());
    return 1;
  }
}
