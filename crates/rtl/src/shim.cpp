// What every verilated model looks like from Rust: a clock, a port that writes and reads by address, a wire that says
// whether it runs. `headers.inc` and `models.inc` are written by the build script.
#include <cstdint>
#include "headers.inc"

struct Host {
    virtual ~Host() {}
    virtual void clock(bool write, uint32_t address, uint64_t value) = 0;
    virtual uint64_t read(uint32_t address) = 0;
    virtual bool running() = 0;
};

template <class Model> struct Of : Host {
    VerilatedContext context;
    Model model{&context};
    ~Of() { model.final(); }
    void clock(bool write, uint32_t address, uint64_t value) override {
        model.write = write, model.address = address, model.written = value;
        model.clk = 0, model.eval();
        model.clk = 1, model.eval();
    }
    uint64_t read(uint32_t address) override {
        model.write = 0, model.address = address, model.eval();
        return model.read;
    }
    bool running() override { return model.running; }
};

#define MODEL(index, name) case index: return new Of<name>;

extern "C" {
Host *rtl_new(uint32_t design) {
    switch (design) {
#include "models.inc"
    }
    return nullptr;
}
void rtl_free(Host *host) { delete host; }
void rtl_write(Host *host, uint32_t address, uint64_t value) { host->clock(true, address, value); }
uint64_t rtl_read(Host *host, uint32_t address) { return host->read(address); }
uint64_t rtl_clock(Host *host, uint64_t most) {
    uint64_t done = 0;
    do host->clock(false, 0, 0); while (++done < most && host->running());
    return done;
}
bool rtl_running(Host *host) { return host->running(); }
}
